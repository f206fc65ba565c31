// Package grant decides who holds an administrative membership, for how long, and
// who said so.
//
// A policy file ([ParsePolicies]) says which group may be requested by whom, who
// approves, who observes and when. A [Grant] is one person's time-bound hold on one
// group. It moves through one state machine, whose transitions are a table
// ([Transitions]): state and event name the next state, its guards and effects.
// Whatever the table does not name is refused with [ErrIllegal], and the refusal is
// in the log.
//
// The package decides; it does not act. A [Service] keeps its state in a [Store], asks
// a [Directory], and is told the time ([Instant]) by its caller with every call. It
// starts no goroutine, owns no connection and knows no clock: [Service.Tick] and
// [Service.Sweep] are called by whoever owns the loop.
//
// What holds whatever crashes:
//
//   - The end of a membership is never given up. A grant that is ending stays so until
//     the directory says that the membership is gone ([Service.Tick] retries without
//     limit, with capped exponential delays, and [Service.Sweep] looks at once).
//   - What no grant added is never removed. The membership that a grant made is known
//     by the stamp of its link; a membership that was there before, or that somebody
//     made anew, is left alone, and said to be so.
//   - Overlapping grants share one membership ([Holding]); it goes with the last of them.
//   - Each write is preceded by an entry in the log. Removals go ahead when the entry
//     cannot be written; so does the emergency path, as long as its end can be stored.
//     Both are logged later, marked late.
//   - An action carries the generation of its grant. A stale one does nothing and
//     leaves one entry.
//   - The clock of a grant starts when it becomes active, and the time of the domain
//     controller decides when it ends. A second guard counts by the monotonic clock, so
//     that a controller whose clock is set back prolongs nothing while the process runs.
//
// Known limits. Whether a write whose answer was lost took effect is found out by
// reading; if somebody else made the same membership between two such reads, nothing
// in the directory tells the two apart, and it is taken for the grant's own: the entry
// says inferred. A removal that is held back on its way takes what somebody else has made
// meanwhile; grants wait until none can be on its way. After a restart the monotonic guard begins anew with at most the
// whole duration. The end of a membership is not the end of access: see [AccessAfter].
package grant
