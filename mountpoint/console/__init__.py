"""The commands that show a running server: ``status`` once, and ``top`` live.

Both ask the server through its control socket, and show its snapshot. Read in this order:

    figures  numbers for narrow columns
    lines    the snapshot as lines of text
    status   print them
    screen   the lines that `top` shows, and how keys change them
    top      draw them in a terminal
"""
