package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"sfbroker/sandbox/ias"
	"sfbroker/sandbox/signing"
)

// Faults. Those of a rule, a client ID, a user or a company touch the first
// company only; Entra, its keys and the IAS endpoint are shared by both.
const (
	// FaultWrongSubject: the trust rule in IAS expects another subject.
	FaultWrongSubject = "wrong-subject"
	// FaultWrongAudience: the trust rule in IAS expects the audience with api:// in front.
	FaultWrongAudience = "wrong-audience"
	// FaultUnmappedClient: the client ID is missing in SuccessFactors's application map.
	FaultUnmappedClient = "unmapped-client"
	// FaultWithdrawnKey: Entra signs with a key that it does not publish any more.
	FaultWithdrawnKey = "withdrawn-key"
	// FaultIASDown: IAS refuses connections.
	FaultIASDown = "ias-down"
	// FaultLockedClient: the client ID is locked at IAS, for an hour of its clock.
	FaultLockedClient = "locked-client"
	// FaultNoPermission: no role gives the technical user any permission.
	FaultNoPermission = "no-permission"
	// FaultIASHTML: the token endpoint answers 200 with an HTML page.
	FaultIASHTML = "ias-html"
	// FaultIASEndless: the token endpoint answers 200 with JSON that never ends.
	FaultIASEndless = "ias-endless"
	// FaultTokenRefused: SuccessFactors answers 403 [LGN0022] to every AT2.
	FaultTokenRefused = "token-refused"
	// FaultRevokeTokens refuses all AT2 issued so far; it happens once and is never on.
	FaultRevokeTokens = "revoke-tokens"
	// FaultEntraDown: Entra refuses connections.
	FaultEntraDown = "entra-down"
	// FaultODataDown: SuccessFactors answers 503, maintenance.
	FaultODataDown = "odata-down"
)

// ErrUnknownFault means that there is no fault of that name.
var ErrUnknownFault = errors.New("unknown fault")

// ErrClosed means that the sandbox is closed.
var ErrClosed = errors.New("the sandbox is closed")

// KnownFaults lists the names of all faults, sorted.
func KnownFaults() []string {
	names := []string{
		FaultWrongSubject, FaultWrongAudience, FaultUnmappedClient, FaultWithdrawnKey, FaultIASDown,
		FaultLockedClient, FaultNoPermission, FaultIASHTML, FaultIASEndless, FaultTokenRefused,
		FaultRevokeTokens, FaultEntraDown, FaultODataDown,
	}
	slices.Sort(names)
	return names
}

// Faults lists the names of all faults, sorted.
func (s *Sandbox) Faults() []string { return KnownFaults() }

// ActiveFaults lists the faults that are on, sorted.
func (s *Sandbox) ActiveFaults() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.active))
}

// SetFault switches a fault on or off. Setting what is already set does it
// again: a client that was unlocked meanwhile is locked again.
func (s *Sandbox) SetFault(name string, on bool) error {
	if !slices.Contains(KnownFaults(), name) {
		return fmt.Errorf("%w: %q", ErrUnknownFault, name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	was := s.active[name]
	delete(s.active, name)
	if on && name != FaultRevokeTokens {
		s.active[name] = true
	}
	if err := s.apply(name, on, was); err != nil {
		return fmt.Errorf("switching fault %q: %w", name, err)
	}
	return nil
}

// apply makes the stand-ins follow. The caller holds s.mu.
func (s *Sandbox) apply(name string, on, was bool) error {
	first := s.companies[0]
	switch name {
	case FaultWrongSubject, FaultWrongAudience:
		return s.ias.SetRules(s.Info.IASClientID, s.brokenRule())
	case FaultWithdrawnKey:
		return s.withdrawKey(on, was)
	case FaultLockedClient:
		if on {
			s.ias.Lock(s.Info.IASClientID)
		} else {
			s.ias.Unlock(s.Info.IASClientID)
		}
	case FaultIASDown:
		return s.endpoints.ias.set(!on)
	case FaultEntraDown:
		return s.endpoints.entra.set(!on)
	case FaultIASHTML, FaultIASEndless:
		s.ias.Disturb(s.disturbance())
	case FaultUnmappedClient:
		first.system.SetMapped(first.clientID, !on)
	case FaultNoPermission:
		first.setPermitted(!on)
	case FaultTokenRefused:
		first.system.SetTokenRefused(on)
	case FaultODataDown:
		first.system.SetMaintenance(on)
	case FaultRevokeTokens:
		if on {
			s.revoke(first)
		}
	}
	return nil
}

// brokenRule is the first company's trust rule with the faults that are on.
func (s *Sandbox) brokenRule() ias.Rule {
	rule := s.trustRule()
	if s.active[FaultWrongSubject] {
		rule.Subject = signing.NewGUID() // as if the application's object ID stood there
	}
	if s.active[FaultWrongAudience] {
		rule.Audience = "api://" + rule.Audience
	}
	return rule
}

func (s *Sandbox) disturbance() ias.Disturbance {
	switch {
	case s.active[FaultIASHTML]:
		return ias.AnswerHTML
	case s.active[FaultIASEndless]:
		return ias.AnswerEndless
	}
	return ias.Undisturbed
}

// withdrawKey leaves another key published, as the real one would, and lets IAS
// see the change at once instead of after its refresh interval.
func (s *Sandbox) withdrawKey(on, was bool) error {
	if on == was {
		return nil
	}
	if on {
		if _, err := s.entra.Announce(); err != nil {
			return err
		}
		s.entra.Withdraw(s.entra.KeyID())
	} else {
		s.entra.Restore()
	}
	s.ias.RefreshKeys()
	return nil
}
