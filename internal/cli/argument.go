package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// args turns the number of arguments that a command takes into usage errors, which
// say what is missing, or too much, in the words of the command's Use, with an
// example.
func args(want cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		err := want(cmd, given)
		if err == nil {
			return nil
		}
		name, see := strings.TrimPrefix(cmd.CommandPath(), "leastwise "), "see: "+cmd.CommandPath()+" --help"
		needed, all := placeholders(cmd.Use)
		switch {
		case len(given) < len(needed):
			return usagef("for example: "+exampleOf(cmd)+"; "+see, "%s takes %s%s", name, wordsAnd(needed), missing(needed[len(given):], len(needed)))
		case len(given) > len(all) && len(all) > 0:
			return usagef("put names with spaces in quotes, as in: "+exampleOf(cmd)+"; "+see, "%s takes %s alone, and %s is too many", name, wordsAnd(all), quoted(given[len(all)]))
		case len(given) > 0 && cmd.HasSubCommands():
			return usagef(see, "%s has no command %s", name, quoted(given[0]))
		case len(given) > 0:
			return usagef(see, "%s takes flags alone, and %s is none", name, quoted(given[0]))
		}
		return &usageError{err, see}
	}
}

// missing says which of all arguments are missing.
func missing(names []string, all int) string {
	switch {
	case all == 1:
		return ", which is missing"
	case len(names) == all && all == 2:
		return ": both are missing"
	case len(names) == 1:
		return ": " + names[0] + " is missing"
	}
	return ": " + wordsAnd(names) + " are missing"
}

// placeholders returns what the Use of a command calls its arguments: those that it
// needs, and all.
func placeholders(use string) (needed, all []string) {
	for _, word := range strings.Fields(use)[1:] {
		if word == "|" || strings.HasPrefix(word, "-") {
			break
		}
		name, optional := strings.CutPrefix(word, "[")
		name = strings.TrimSuffix(name, "]")
		if all = append(all, name); !optional {
			needed = append(needed, name)
		}
	}
	return needed, all
}

// wordsAnd joins words as in "A, B and C".
func wordsAnd(words []string) string {
	if n := len(words) - 1; n > 0 {
		return strings.Join(words[:n], ", ") + " and " + words[n]
	}
	return strings.Join(words, "")
}

// exampleOf returns the first line of a command's example that can be typed as it is.
func exampleOf(cmd *cobra.Command) string {
	for line := range strings.Lines(cmd.Example) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, cmd.CommandPath()) && !strings.HasSuffix(line, `\`) {
			return line
		}
	}
	return cmd.CommandPath() + " --help"
}
