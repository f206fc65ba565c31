package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
)

const (
	defaultConfigFile = "leastwise.yaml"
	configVariable    = app.EnvPrefix + "CONFIG"
)

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
		if err := cfg.Set(s.Name, f.Value.String(), "flag --"+s.Name); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// configName returns the name of the configuration file, and whether somebody gave
// it.
func (c *command) configName() (name string, given bool) {
	if name = c.configFile; name == "" {
		name = c.env.getenv(configVariable)
	}
	if name == "" {
		return defaultConfigFile, false
	}
	return name, true
}

// readConfigFile reads the file that was named, which must exist, or the default
// one, which need not.
func (c *command) readConfigFile(cfg *app.Config) error {
	name, named := c.configName()
	data, err := app.ReadFile(name)
	switch {
	case !named && errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("reading configuration %s: %w", name, err)
	}
	return cfg.ReadYAML(name, data)
}

func (c *command) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Show the configuration", Args: args(cobra.NoArgs), RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var o output
	show := &cobra.Command{
		Use: "show", Short: "Print every setting, its value, and where the value came from",
		Example: "  leastwise config show\n  LEASTWISE_DOMAIN=contoso.com leastwise config show --output json",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			cfg, err := c.config(cmd)
			if err != nil {
				return err
			}
			return c.write(cmd.Context(), &o, func(w io.Writer) error { return showConfig(w, cfg, o.form) })
		},
	}
	addSettings(show, "directory", "controls", "assess")
	o.add(show, "table", "json")
	cmd.AddCommand(show)
	return cmd
}

// showConfig writes every setting as a table or as JSON.
func showConfig(out io.Writer, cfg *app.Config, form string) error {
	if form == "json" {
		type row struct {
			Setting string `json:"setting"`
			Value   string `json:"value"`
			Source  string `json:"source"`
		}
		var rows []row
		for _, v := range cfg.Values() {
			rows = append(rows, row{v.Setting.Name, v.Text, v.Source})
		}
		return writeJSON(out, rows)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tVALUE\tSOURCE")
	for _, v := range cfg.Values() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", v.Setting.Name, v.Text, v.Source)
	}
	return w.Flush()
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
