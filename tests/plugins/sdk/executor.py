name = "the plugin's own executor"
