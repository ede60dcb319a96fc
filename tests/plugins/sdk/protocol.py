name = "the plugin's own protocol"
