package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/store"
)

// Headers of idempotency.
const (
	headerKey      = "Idempotency-Key"
	headerReplayed = "Idempotency-Replayed"
)

const (
	maxReply    = 64 << 10         // bytes of a result that is kept
	keepTimeout = 20 * time.Second // for storing it
)

var keyForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// once is the middleware of idempotency keys. The key is stored before the request is
// carried out and the result after it, so that a repetition gets the result, and one
// whose first try died half-way is told that nobody knows, instead of trying again.
// Keys belong to the account that chose them. Only what was done is kept: a refusal had
// no effect, and the same request may be allowed the next time. A kept answer is for who
// may still do what it answers.
func (s *Server) once(rt route) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		key := r.Header.Get(headerKey)
		if key == "" {
			next(ctx)
			return
		}
		c := callerOf(r.Context())
		if c == nil || !keyForm.MatchString(key) || len(r.Header.Values(headerKey)) > 1 {
			s.refuse(ctx, api.NewProblem(api.CodeInvalid, "an idempotency key is 1 to 64 letters, digits, hyphens and underscores"))
			return
		}
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.read)) // it may have waited for its turn
		body, err := io.ReadAll(r.Body)
		if err != nil {
			s.refuse(ctx, bodyProblem(err))
			return
		}
		reply := store.Reply{Account: c.Account, Key: key, Request: fingerprint(r, body), At: s.cfg.Now()}
		kept, fresh, err := s.cfg.Store.BeginReply(r.Context(), reply)
		if err == nil && !fresh {
			_, err = s.visible(r.Context(), c, ctx.Param("id"), rt.still)
		}
		if err != nil {
			s.refuse(ctx, s.problem(r.Context(), err))
			return
		}
		if !fresh {
			s.replay(ctx, kept, reply)
			return
		}
		rec := &recorder{ResponseWriter: w}
		r = r.WithContext(r.Context())
		r.Body = &timedBody{io.NopCloser(bytes.NewReader(body)), w}
		next(humago.NewContext(ctx.Operation(), r, rec))
		s.keep(r.Context(), reply, rec)
	}
}

// keep stores the result. The client may be gone by then.
func (s *Server) keep(ctx context.Context, reply store.Reply, rec *recorder) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
	defer cancel()
	reply.Status, reply.Type, reply.Body = rec.status, rec.Header().Get("Content-Type"), rec.body.Bytes()
	var err error
	switch code := info(ctx).code; {
	case rec.status == 0, rec.over, code == api.CodeUnknown, code == api.CodeInternal:
		return // it stays unfinished: nobody knows
	case rec.status >= http.StatusMultipleChoices:
		err = s.cfg.Store.DropReply(ctx, reply)
	default:
		err = s.cfg.Store.EndReply(ctx, reply)
	}
	if err != nil {
		s.cfg.Log.ErrorContext(ctx, "keeping the result for an idempotency key", "request", requestID(ctx), "error", err.Error())
	}
}

// replay answers a repetition.
func (s *Server) replay(ctx huma.Context, kept, now store.Reply) {
	_, w := humago.Unwrap(ctx)
	switch {
	case kept.Request != now.Request:
		s.refuse(ctx, api.NewProblem(api.CodeKeyReused, "use a new key for each request"))
	case kept.Status == 0 && now.At.Sub(kept.At) < callTimeout:
		p := api.NewProblem(api.CodeKeyUnfinished, "it is still being carried out")
		p.Retry = 1
		s.refuse(ctx, p)
	case kept.Status == 0:
		s.refuse(ctx, api.NewProblem(api.CodeUnknown, "the first request with this key did not come to its end: look at the state before trying again with a new key"))
	default:
		w.Header().Set(headerReplayed, "true")
		if kept.Type != "" {
			w.Header().Set("Content-Type", kept.Type)
		}
		w.WriteHeader(kept.Status)
		_, _ = w.Write(kept.Body)
	}
}

// fingerprint tells requests apart: method, path, query and body.
func fingerprint(r *http.Request, body []byte) [32]byte {
	h := sha256.New()
	for _, part := range []string{r.Method, r.URL.Path, r.URL.RawQuery} {
		_, _ = io.WriteString(h, part+"\n")
	}
	h.Write(body)
	return [32]byte(h.Sum(nil))
}

// bodyProblem tells why a body could not be read.
func bodyProblem(err error) *api.Problem {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return api.NewProblem(api.CodeTooLarge, "")
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return api.NewProblem(api.CodeTooSlow, "")
	}
	return api.NewProblem(api.CodeInvalid, "the body could not be read")
}

// A recorder keeps what is answered while it is answered.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
	over   bool // the answer is too large to be kept
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	if r.body.Len()+len(b) > maxReply {
		r.over = true
	} else {
		r.body.Write(b)
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
