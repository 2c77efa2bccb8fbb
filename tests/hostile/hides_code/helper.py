WHICH = "reviewed"
