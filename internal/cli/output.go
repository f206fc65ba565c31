package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/report"
)

// An output is what --output and --out say: the form of a result, and the file
// that it goes to, if not to standard output.
type output struct {
	form, file string
	forms      []string // that the command knows; the first is the default
}

// add gives cmd the flags.
func (o *output) add(cmd *cobra.Command, forms ...string) {
	o.forms = forms
	cmd.Flags().StringVar(&o.form, "output", forms[0], "`FORM` of the result: "+alternatives(forms))
	cmd.Flags().StringVar(&o.file, "out", "", "`FILE` to write instead of standard output")
	complete(cmd, "output", forms...)
}

// toFile reports whether the result goes to a file.
func (o *output) toFile() bool { return o.file != "" && o.file != "-" }

// alternatives joins words as in "a, b or c".
func alternatives(words []string) string {
	if n := len(words) - 1; n > 0 {
		return strings.Join(words[:n], ", ") + " or " + words[n]
	}
	return strings.Join(words, "")
}

// checkOutput refuses, before long work, a result that could not be written after
// it: in a form that the command does not know, or to a place that takes none.
func (c *command) checkOutput(cmd *cobra.Command, o *output) error {
	if !slices.Contains(o.forms, o.form) {
		name := strings.TrimPrefix(cmd.CommandPath(), "leastwise ")
		return usagef("use "+alternatives(o.forms), "%s cannot write %q", name, o.form)
	}
	if !o.toFile() {
		return nil
	}
	if err := c.checkInputs(cmd, o.file); err != nil {
		return err
	}
	return app.CheckWritable(o.file)
}

// checkInputs refuses to write the result over a file that the command reads,
// whether an argument, a flag, the environment or the configuration names it.
func (c *command) checkInputs(cmd *cobra.Command, out string) error {
	to, _ := os.Stat(out)
	if to == nil || !to.Mode().IsRegular() {
		return nil // nothing there that could be lost, or CheckWritable says what is wrong
	}
	config, _ := c.configName()
	inputs := append(cmd.Flags().Args(), config)
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch v, several := f.Value.(pflag.SliceValue); {
		case several:
			inputs = append(inputs, v.GetSlice()...)
		case f.Name != "out":
			inputs = append(inputs, f.Value.String())
		}
	})
	if cfg, err := c.mergeConfig(cmd); err == nil { // else the command says what is wrong with it
		for _, v := range cfg.Values() {
			inputs = append(inputs, v.Text)
			if v.Setting.Kind == app.List {
				inputs = append(inputs, cfg.List(v.Setting.Name)...)
			}
		}
	}
	for _, name := range inputs {
		if in, err := os.Stat(name); err == nil && os.SameFile(in, to) {
			return usagef("name another file with --out", "%s is read and would be overwritten", name)
		}
	}
	return nil
}

// write sends a result to a file, which appears only when it is complete, or to
// standard output.
func (c *command) write(ctx context.Context, o *output, write func(io.Writer) error) error {
	if !o.toFile() {
		return write(c.env.Out)
	}
	if err := app.WriteFile(ctx, o.file, write); err != nil {
		return err
	}
	c.note("wrote %s", o.file)
	return nil
}

// screen describes what text is written to: a terminal, or a file or pipe.
func (c *command) screen(o *output) report.Screen {
	if o.toFile() {
		return report.Screen{}
	}
	return report.Screen{Width: c.env.OutTerminal, Color: c.env.color(c.env.OutTerminal)}
}

// stdoutName is what errors call standard output.
const stdoutName = "standard output"

// A sink is standard output. It keeps its first error, so that no command ends
// well whose result did not get through, whoever swallowed the error.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		s.err = &app.WriteError{Name: stdoutName, Err: err}
	}
	return n, s.err
}
