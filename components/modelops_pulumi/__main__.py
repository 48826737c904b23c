"""What Pulumi runs as the plugin: the module that it looks in has no components of its own."""

import modelops.__main__

if __name__ == "__main__":
    modelops.__main__.main()
