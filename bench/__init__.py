"""Speed and size, measured beside the bare thing and beside other tools in one run (`make bench`)."""
