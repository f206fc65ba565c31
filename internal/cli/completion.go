package cli

import (
	"io"

	"github.com/spf13/cobra"
)

const completionExample = `  # for this session of bash
  source <(leastwise completion bash)

  # for every session, as root
  leastwise completion bash > /etc/bash_completion.d/leastwise
  leastwise completion zsh > /usr/local/share/zsh/site-functions/_leastwise
  leastwise completion fish > /etc/fish/completions/leastwise.fish`

// completionCommand replaces cobra's, which takes an unknown shell for none.
func (c *command) completionCommand(root *cobra.Command) *cobra.Command {
	scripts := map[string]func(io.Writer) error{
		"bash":       func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"zsh":        root.GenZshCompletion,
		"fish":       func(w io.Writer) error { return root.GenFishCompletion(w, true) },
		"powershell": root.GenPowerShellCompletionWithDesc,
	}
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use: "completion SHELL", Short: "Print the script that completes commands in a shell",
		Long:    "Prints what makes a shell complete commands, flags and their values. Shells: " + alternatives(shells) + ".",
		Example: completionExample, ValidArgs: shells, Args: args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, names []string) error {
			write := scripts[names[0]]
			if write == nil {
				return usagef("use "+alternatives(shells), "there is no completion for the shell %q", names[0])
			}
			return write(c.env.Out)
		},
	}
}
