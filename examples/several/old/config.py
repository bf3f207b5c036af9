TITLE = "old"
