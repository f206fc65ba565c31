package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
)

// addSettings gives cmd a flag for each setting of the named groups.
func addSettings(cmd *cobra.Command, groups ...string) {
	unknown := append([]string(nil), groups...)
	for _, s := range app.Settings() {
		if slices.Contains(groups, s.Group) {
			addSetting(cmd, s)
			unknown = slices.DeleteFunc(unknown, func(g string) bool { return g == s.Group })
		}
	}
	if len(unknown) > 0 {
		panic("no setting is of the group " + strings.Join(unknown, ", ")) // found by any test that makes the command
	}
}

func addSetting(cmd *cobra.Command, s app.Setting) {
	if s.Kind == app.Bool {
		cmd.Flags().Bool(s.Name, s.Default == "true", s.Help)
		return
	}
	help := s.Help
	if s.Kind == app.List {
		help += " (may be repeated)"
	}
	cmd.Flags().Var(&settingFlag{kind: s.Kind, text: s.Default}, s.Name, help)
	if len(s.Values) > 0 {
		complete(cmd, s.Name, s.Values...)
	}
}

// A settingFlag is the value of a flag that is a setting: text, which package app
// checks, so that a mistake reads the same wherever the setting comes from.
type settingFlag struct {
	kind app.Kind
	text string
	set  bool
}

// Set takes the text after the flag; a list grows with each.
func (f *settingFlag) Set(text string) error {
	if f.kind == app.List && f.set {
		text = f.text + ";" + text
	}
	f.text, f.set = text, true
	return nil
}

// String returns the text, elements of a list separated by ";".
func (f *settingFlag) String() string { return f.text }

// Type is what help shows behind the flag.
func (f *settingFlag) Type() string {
	switch f.kind {
	case app.Int:
		return "number"
	case app.Duration:
		return "duration"
	case app.String, app.List, app.Bool:
	}
	return "text"
}

// complete offers the values of a flag to the shell.
func complete(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails only for unknown flags
}

// addSnapshot gives cmd the flag that names a file instead of a live domain.
func addSnapshot(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "snapshot", "", "`FILE` to read instead of a live domain: snapshot, LDIF or fixture")
}

// addFailOn gives cmd the flag that makes findings an exit code.
func addFailOn(cmd *cobra.Command, level *string, what string) {
	cmd.Flags().StringVar(level, "fail-on", "", "exit with code 1 if "+what+" of this `SEVERITY` or worse: "+strings.Join(severities, ", "))
	complete(cmd, "fail-on", severities...)
}
