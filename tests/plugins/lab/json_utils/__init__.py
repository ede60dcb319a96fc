NAME = "my json_utils"
