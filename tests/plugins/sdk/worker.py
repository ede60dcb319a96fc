name = "the plugin's own worker"
