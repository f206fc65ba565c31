package server

import (
	"context"
	"net/http"
	"time"

	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/store"
)

const tagRuns = "assessments"

type (
	runsIn struct {
		Forest string `query:"forest" maxLength:"1024" doc:"DNS names of its domains, in order, joined by spaces; absent: all"`
		Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	}
	runsOut struct {
		Body struct {
			Items []store.Run `json:"items"`
		}
	}
	trendIn struct {
		Forest string    `query:"forest" required:"true" minLength:"1" maxLength:"1024"`
		Since  time.Time `query:"since"`
	}
	trendOut struct {
		Body struct {
			Items []store.TrendPoint `json:"items"`
		}
	}
)

func (s *Server) registerRuns() {
	add(s, route{
		id: "list-runs", method: http.MethodGet, path: "/v1/runs", tag: tagRuns, summary: "Assessments that were kept, newest first", may: operator.AssessRead,
	}, func(ctx context.Context, _ *caller, in *runsIn) (*runsOut, error) {
		out := &runsOut{}
		err := s.cfg.Store.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
			out.Body.Items, err = tx.Runs(ctx, in.Forest, in.Limit)
			return err
		})
		return out, err
	})
	add(s, route{
		id: "trend-of-runs", method: http.MethodGet, path: "/v1/runs/trend", tag: tagRuns, summary: "How findings and populations of a forest went", may: operator.AssessRead,
	}, func(ctx context.Context, _ *caller, in *trendIn) (*trendOut, error) {
		out := &trendOut{}
		err := s.cfg.Store.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
			out.Body.Items, err = tx.Trend(ctx, in.Forest, in.Since)
			return err
		})
		return out, err
	})
}
