package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
)

const (
	defaultConfigFile = "leastwise.yaml"
	configVariable    = app.EnvPrefix + "CONFIG"
)

// addSettings gives cmd a flag for each setting of the named groups.
func addSettings(cmd *cobra.Command, groups ...string) {
	for _, s := range app.Settings() {
		for _, g := range groups {
			if s.Group == g {
				addSetting(cmd, s)
			}
		}
	}
}

func addSetting(cmd *cobra.Command, s app.Setting) {
	help := s.Help
	switch {
	case s.Kind == app.Bool:
		cmd.Flags().Bool(s.Name, s.Default == "true", help)
		return
	case s.Kind == app.List:
		cmd.Flags().StringArray(s.Name, nil, help+" (may be repeated)")
	default:
		cmd.Flags().String(s.Name, s.Default, help)
	}
	if len(s.Values) > 0 {
		complete(cmd, s.Name, s.Values...)
	}
}

// complete offers the values of a flag to the shell.
func complete(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails only for unknown flags
}

// config merges file < environment < flags.
func (c *command) config(cmd *cobra.Command) (*app.Config, error) {
	cfg, err := c.mergeConfig(cmd)
	if err != nil {
		return nil, &usageError{err, "leastwise config show --help explains every setting"}
	}
	return cfg, nil
}

func (c *command) mergeConfig(cmd *cobra.Command) (*app.Config, error) {
	cfg := app.NewConfig()
	if err := c.readConfigFile(cfg); err != nil {
		return nil, err
	}
	if err := cfg.ReadEnv(c.env.Environ, configVariable); err != nil {
		return nil, err
	}
	for _, s := range app.Settings() {
		f := cmd.Flags().Lookup(s.Name)
		if f == nil || !f.Changed {
			continue
		}
		text := f.Value.String()
		if s.Kind == app.List {
			vals, err := cmd.Flags().GetStringArray(s.Name)
			if err != nil {
				return nil, err
			}
			text = strings.Join(vals, ";")
		}
		if err := cfg.Set(s.Name, text, "flag --"+s.Name); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// readConfigFile reads the file that was named, which must exist, or the default
// one, which need not.
func (c *command) readConfigFile(cfg *app.Config) error {
	name := c.configFile
	if name == "" {
		name = c.env.getenv(configVariable)
	}
	named := name != ""
	if !named {
		name = defaultConfigFile
	}
	data, err := os.ReadFile(name)
	switch {
	case !named && errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("reading the configuration: %w", err)
	}
	return cfg.ReadYAML(name, data)
}

func (c *command) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Show the configuration", Args: args(cobra.NoArgs), RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var output string
	show := &cobra.Command{
		Use: "show", Short: "Print every setting, its value, and where the value came from",
		Example: "  leastwise config show\n  LEASTWISE_DOMAIN=contoso.com leastwise config show --output json",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config(cmd)
			if err != nil {
				return err
			}
			return c.showConfig(cfg, output)
		},
	}
	addSettings(show, "directory", "assess")
	show.Flags().StringVar(&output, "output", "table", "table or json")
	complete(show, "output", "table", "json")
	cmd.AddCommand(show)
	return cmd
}

func (c *command) showConfig(cfg *app.Config, output string) error {
	switch output {
	case "json":
		type row struct {
			Setting string `json:"setting"`
			Value   string `json:"value"`
			Source  string `json:"source"`
		}
		var rows []row
		for _, v := range cfg.Values() {
			rows = append(rows, row{v.Setting.Name, v.Text, v.Source})
		}
		return writeJSON(c.env.Out, rows)
	case "table":
		w := tabwriter.NewWriter(c.env.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SETTING\tVALUE\tSOURCE")
		for _, v := range cfg.Values() {
			fmt.Fprintf(w, "%s\t%s\t%s\n", v.Setting.Name, v.Text, v.Source)
		}
		return w.Flush()
	}
	return usagef("use --output table or --output json", "config show cannot write %q", output)
}

func writeJSON(w interface{ Write([]byte) (int, error) }, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
