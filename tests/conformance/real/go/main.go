// Prints a proverb, or its version.
package main

import (
	"fmt"
	"os"

	"rsc.io/quote"
)

var version = "unknown"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		fmt.Println("app version", version)
		return
	}
	fmt.Println(quote.Go())
}
