package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/report"
)

const rightHint = `write it like WRITE_DAC, "write member", "create user" or "Reset Password"`

// holders answers who holds one right on an object.
func (c *command) holders(cmd *cobra.Command, file string, o *output, target, right string) error {
	if right == "" {
		return usagef(rightHint, "--right names no right")
	}
	s, err := c.input(cmd, file)
	if err != nil {
		return err
	}
	id, err := findObject(s, target)
	if err != nil {
		if strings.EqualFold(target, "tier0") {
			return usagef("name one of its objects: leastwise zones show tier0", "--right is about one object, and %s is a zone", quoted(target))
		}
		return err
	}
	act, err := reach.NewRightNames(s).Find(right)
	if errors.Is(err, reach.ErrNoSchema) {
		return fmt.Errorf("%w: export CN=Configuration and CN=Schema below it, too", err)
	}
	if err != nil {
		return &usageError{err, rightHint}
	}
	h := report.NewHolders(s, reach.New(s), id, act)
	return c.write(cmd.Context(), o, func(w io.Writer) error {
		if o.form == "json" {
			return h.JSON(w)
		}
		return h.Text(w, c.screen(o))
	})
}

// completeRight completes names of rights: of the schema of the snapshot file, or
// the plain ones.
func (c *command) completeRight(file *string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		plain := []string{"WRITE_DAC", "WRITE_OWNER", "DELETE", "write:", "read:", "create:", "delete-child:"}
		if *file == "" {
			return plain, cobra.ShellCompDirectiveNoFileComp
		}
		s, err := app.Load(cmd.Context(), *file, c.tool(), c.env.Now().UTC())
		if err != nil {
			return plain, cobra.ShellCompDirectiveNoFileComp // the command itself will say why
		}
		return reach.NewRightNames(s).Names(prefix), cobra.ShellCompDirectiveNoFileComp
	}
}
