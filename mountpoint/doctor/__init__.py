"""``mountpoint doctor``: what is wrong between the proxy and the apps, how sure that is, and what mends it.

The method is the counterfactual probe: fetch the address that fails, then the corrected one. Read in this order:

    addresses  what of a URL decides who is asked
    symptoms   what can be wrong: its name, what it means, how an address of it is corrected
    fixes      the one change that mends it, in the language of the proxy
    fetch      ask one host, a bounded number of times; or ask an app in process, in the same words
    pages      which addresses a page names, and in which line
    findings   what was found, and the report of it
    crawl      follow the links of one mount and try each correction on what fails
    site       everything that is asked of one mount, by its address alone
    arrival    what arrives behind the proxy, by the echo
    run        the same for a site that only its address is known of
    table      the same with the mount table at hand, in process and through the proxy
    ask        which of the three ways it is asked in
    echo       what answers, in the served stack, to the probe that carries the key
"""
