"""``mountpoint doctor``: find the faults between the proxy and the apps, with evidence and a fix for each.

The method is the counterfactual probe: request the URL that fails, then the corrected URL. Read in this order:

    addresses  the parts of a URL that decide which server gets the request
    symptoms   every possible fault: its name, its meaning, and how a URL that has it is corrected
    fixes      the one change that fixes each symptom, in the language of the proxy
    fetch      request a URL, over the network or from an app in this process; the number of requests is bounded
    pages      the URLs in a page, each with its line
    findings   a symptom that was found, its evidence, and the report of all of them
    crawl      follow the links of one mount, and try each correction on a URL that fails
    redirects  follow the redirects from one URL to the end of their chain
    mapping    find out how the proxy changes the path of a mount, from outside
    examine    examine one mount from outside: its root, its links, the ends of its prefix, its cookies
    by_url     examine a site of which only the URL is known
    arrival    ask the echo how a request arrives behind the proxy, and what a client can forge
    by_table   examine every mount of a table, in this process and through the proxy
    main       choose one of the three ways

The echo itself is `mountpoint.wsgi.echo`: the outermost layer of the server, which responds to requests with the
doctor's key.
"""
