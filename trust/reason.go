package trust

import "slices"

// Reason names the one check that an assertion failed. Reasons are stable:
// they appear in metrics, audit records and the diagnosis catalogue.
type Reason string

// Shape: decided on the text alone, before anything is believed.
const (
	ReasonTooLong       Reason = "assertion_too_long"     // longer than 16 KiB
	ReasonHeaderTooLong Reason = "header_too_long"        // encoded header longer than 8 KiB
	ReasonEncrypted     Reason = "assertion_encrypted"    // five segments: a JWE
	ReasonShape         Reason = "assertion_shape"        // not three non-empty segments
	ReasonAlphabet      Reason = "alphabet"               // a character outside A-Z a-z 0-9 - _
	ReasonEncoding      Reason = "encoding_not_canonical" // base64url that re-encodes differently
	ReasonUTF8          Reason = "utf8_invalid"           // invalid UTF-8, or a lone surrogate in an escape
	ReasonJSON          Reason = "json_invalid"           // not JSON (RFC 8259)
	ReasonTrailingData  Reason = "json_trailing_data"     // something after the one JSON value
	ReasonNotObject     Reason = "json_not_object"        // header or payload is no object
	ReasonTooDeep       Reason = "json_too_deep"          // nested deeper than 16
	ReasonDuplicateName Reason = "name_duplicate"         // the same name twice, or twice but for letter case
	ReasonMisspeltName  Reason = "name_misspelt"          // a registered name in other letter case, such as ISS
)

// Header (RFC 7515 section 4, RFC 8725).
const (
	ReasonHeaderMember     Reason = "header_member_type"    // a header member that must be a string is not
	ReasonCritical         Reason = "header_crit"           // crit present, even empty
	ReasonUnencoded        Reason = "header_b64"            // b64 present (RFC 7797)
	ReasonCompressed       Reason = "header_zip"            // zip present
	ReasonEncryption       Reason = "header_enc"            // enc present: a JWE header
	ReasonPassword         Reason = "header_p2c"            // p2c present: password-based encryption
	ReasonContentType      Reason = "header_cty"            // cty present: nested content
	ReasonAlgorithmMissing Reason = "algorithm_missing"     // no alg
	ReasonAlgorithm        Reason = "algorithm_not_allowed" // alg is not one that the rule allows
	ReasonType             Reason = "type_not_allowed"      // typ is not one that the rule allows
	ReasonKeyIDInvalid     Reason = "key_id_invalid"        // kid is no string of 1 to 256 printable bytes
	ReasonKeyIDMissing     Reason = "key_id_missing"        // no kid and the issuer has several keys
)

// Claims (RFC 7519 section 4, RFC 7523 section 3).
const (
	ReasonIssuerMissing    Reason = "issuer_missing"    // iss absent, empty or no string
	ReasonIssuerUnknown    Reason = "issuer_unknown"    // no rule has exactly this issuer
	ReasonSubjectMissing   Reason = "subject_missing"   // sub absent, empty or no string
	ReasonSubjectMismatch  Reason = "subject_mismatch"  // no rule of the issuer has exactly this subject
	ReasonAudienceMissing  Reason = "audience_missing"  // aud absent or empty
	ReasonAudienceForm     Reason = "audience_form"     // aud neither string nor array of strings
	ReasonAudienceMany     Reason = "audience_many"     // aud has more than one value
	ReasonAudienceMismatch Reason = "audience_mismatch" // aud is not exactly the rule's audience
	ReasonExpiryMissing    Reason = "expiry_missing"    // no exp
	ReasonExpiryInvalid    Reason = "expiry_invalid"    // exp no number, negative or after the year 9999
	ReasonExpired          Reason = "expired"           // exp has passed
	ReasonNotBeforeInvalid Reason = "not_before_invalid"
	ReasonNotYetValid      Reason = "not_yet_valid" // nbf is still to come
	ReasonIssuedAtInvalid  Reason = "issued_at_invalid"
	ReasonIssuedInFuture   Reason = "issued_in_future"  // iat is still to come
	ReasonTimesContradict  Reason = "times_contradict"  // iat or nbf after exp
	ReasonLifetimeTooLong  Reason = "lifetime_too_long" // exp - iat above the rule's maximum
)

// Key and signature.
const (
	ReasonKeysUnreachable Reason = "keys_unreachable"       // the issuer's keys could not be had in time
	ReasonKeysStale       Reason = "keys_stale"             // the last good key set is older than 48 h
	ReasonKeyUnknown      Reason = "key_unknown"            // the issuer does not publish this kid
	ReasonKeyUnsuitable   Reason = "key_unsuitable"         // the published key is too weak, malformed or not for signatures
	ReasonKeyAlgorithm    Reason = "key_algorithm_mismatch" // the key is not for this alg
	ReasonSignatureLength Reason = "signature_length"       // a signature of a length that the key cannot make
	ReasonSignature       Reason = "signature_invalid"      // the signature does not verify
)

// Reasons lists every reason that Verify can give, in the order of the checks.
func Reasons() []Reason {
	return slices.Concat([]Reason{
		ReasonTooLong, ReasonHeaderTooLong, ReasonEncrypted, ReasonShape, ReasonAlphabet, ReasonEncoding,
		ReasonUTF8, ReasonJSON, ReasonTrailingData, ReasonNotObject, ReasonTooDeep, ReasonDuplicateName, ReasonMisspeltName,
	}, []Reason{
		ReasonCritical, ReasonUnencoded, ReasonCompressed, ReasonEncryption, ReasonPassword, ReasonContentType,
		ReasonHeaderMember, ReasonAlgorithmMissing, ReasonAlgorithm, ReasonKeyIDInvalid, ReasonType,
	}, []Reason{
		ReasonIssuerMissing, ReasonIssuerUnknown, ReasonSubjectMissing, ReasonAudienceMissing, ReasonAudienceForm,
		ReasonAudienceMany, ReasonSubjectMismatch, ReasonAudienceMismatch, ReasonExpiryMissing, ReasonExpiryInvalid,
		ReasonNotBeforeInvalid, ReasonIssuedAtInvalid, ReasonExpired, ReasonNotYetValid, ReasonIssuedInFuture,
		ReasonTimesContradict, ReasonLifetimeTooLong,
	}, []Reason{
		ReasonKeysUnreachable, ReasonKeysStale, ReasonKeyUnknown, ReasonKeyIDMissing, ReasonKeyUnsuitable,
		ReasonKeyAlgorithm, ReasonSignatureLength, ReasonSignature,
	})
}
