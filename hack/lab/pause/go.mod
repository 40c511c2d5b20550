module gastown.example/pause

go 1.24
