TITLE = "new"
