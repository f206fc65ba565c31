package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/collect"
	"github.com/leastwise/leastwise/lab/samba"
)

// live measures a scan of a domain against ldapsearch, and its assessment.
func (b *bench) live(ctx context.Context) (err error) {
	l, err := b.lab(ctx)
	if err != nil {
		return err
	}
	if !b.keep {
		defer func() { err = errors.Join(err, l.Down(context.WithoutCancel(ctx))) }()
	}
	scanned := filepath.Join(b.out, "live.lws")
	theirs, ours, err := b.race(ctx, l, scanned)
	if err != nil {
		return err
	}
	b.say("assessing the scan")
	s, objects, err := b.assess(ctx, scanned)
	if err != nil {
		return err
	}
	label := fmt.Sprintf("live domain, %d objects: ", objects)
	b.table.add(row{what: label + "ldapsearch", value: fmt.Sprintf("%.2f s", theirs.wall().Seconds())})
	b.table.add(row{what: label + "collect", value: fmt.Sprintf("%.2f s", ours.wall().Seconds())})
	b.table.under(label+"collect / ldapsearch", "%.2f", ratio(ours, theirs), 1.3)
	b.table.add(row{what: label + "collect, peak memory", value: fmt.Sprintf("%.0f MB", mb(ours.peak()))})
	b.table.under(label+"assess", "%.2f s", s.wall().Seconds(), 1)
	b.table.under(label+"assess, peak memory", "%.0f MB", mb(s.peak()), 300)
	b.table.add(row{what: label + "assess, processor time", value: fmt.Sprintf("%.2f s", s.cpu().Seconds())})
	return nil
}

// ratio is the median of the ratios of runs that followed each other.
func ratio(ours, theirs series) float64 {
	out := make(series, len(ours))
	for i := range ours {
		out[i] = sample{wall: time.Duration(float64(time.Second) * ours[i].wall.Seconds() / theirs[i].wall.Seconds())}
	}
	return out.wall().Seconds()
}

// lab starts the lab and loads the domain, unless a kept one holds it.
func (b *bench) lab(ctx context.Context) (*samba.Lab, error) {
	fixture := filepath.Join(b.out, fmt.Sprintf("domain-%d.yaml", b.objects))
	if err := os.WriteFile(fixture, []byte(domain(b.objects)), 0o644); err != nil {
		return nil, err
	}
	b.say("starting a domain controller on %s", b.net)
	l, err := samba.Up(ctx, samba.Options{Dir: b.dir, Net: b.net, Single: true})
	if err != nil {
		return nil, err
	}
	sum, err := samba.FixtureSum(fixture)
	if err != nil || l.Fixture == sum {
		return l, err
	}
	b.say("loading %d objects into it", b.objects)
	if err := l.SeedFile(ctx, fixture, time.Now(), func(s string) { b.say("  %s", s) }); err != nil {
		return nil, errors.Join(err, l.Down(context.WithoutCancel(ctx)))
	}
	return l, nil
}

// race runs ldapsearch and collect in turn against the same domain controller,
// once without counting. Both run inside the lab, over TLS with a simple bind as
// the same account.
func (b *bench) race(ctx context.Context, l *samba.Lab, out string) (theirs, ours series, err error) {
	for i := range b.runs + 1 {
		t, err := once(b.ldapsearch(ctx, l))
		if err != nil {
			return nil, nil, err
		}
		o, err := once(b.collect(ctx, l, out))
		if err != nil {
			return nil, nil, err
		}
		b.say("run %d of %d: ldapsearch %.1f s, collect %.1f s", i, b.runs, t.wall.Seconds(), o.wall.Seconds())
		if i > 0 {
			theirs, ours = append(theirs, t), append(ours, o)
		}
	}
	return theirs, ours, nil
}

// ldapsearch reads the partitions that collect reads, with the same attributes,
// page size and descriptor parts, one after the other, into nothing.
func (b *bench) ldapsearch(ctx context.Context, l *samba.Lab) *exec.Cmd {
	schema, objects := collect.Attributes()
	config := "CN=Configuration," + l.BaseDN
	var script strings.Builder
	for _, p := range []struct {
		base  string
		attrs []string
	}{{"CN=Schema," + config, schema}, {config, objects}, {l.BaseDN, objects}} {
		fmt.Fprintf(&script, `tr -d '\n' <'%s' | ldapsearch -LLL -x -o ldif-wrap=no -H ldaps://%s -D '%s@%s' -y /dev/stdin -b '%s' -s sub `+
			`-E pr=1000/noprompt -E '!1.2.840.113556.1.4.801=::MAMCAQc=' '(objectClass=*)' %s >/dev/null || exit 1`+"\n",
			l.Reader.PasswordFile, l.DCs()[0].FQDN, l.Reader.Name, l.Domain, p.base, strings.Join(p.attrs, " "))
	}
	return l.Command(ctx, "sh", "-c", script.String())
}

func (b *bench) collect(ctx context.Context, l *samba.Lab, out string) *exec.Cmd {
	return l.Command(ctx, b.program, "collect", "--quiet", "--domain", l.Domain, "--server", l.DCs()[0].FQDN, "--dns", l.DNS, "--ca", l.CAFile,
		"--transport", "ldaps", "--bind", "simple", "--user", l.Reader.Name+"@"+l.Domain, "--password-file", l.Reader.PasswordFile, "--out", out)
}
