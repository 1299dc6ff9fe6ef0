// Command sfbroker lets any job call SAP SuccessFactors with no stored password.
package main

import (
	"os"

	"sfbroker/cmd"
)

func main() { os.Exit(cmd.Main()) }
