"""Where Pulumi looks for the plugin `modelops`: the module of the distribution's name. Programs import `modelops`."""
