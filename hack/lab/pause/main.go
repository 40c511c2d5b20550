// Command pause holds a pod's namespaces: it waits for SIGTERM or SIGINT and ends with 0.
// With -v it prints its name and ends at once, which makes it the smallest container that completes.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "-v" {
		fmt.Println("pause 1")
		return
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}
