package report

import "encoding/json"

// Part is a part of a document that may not be there (null), or could not be
// had ({"error": "..."}).
type Part[T any] struct {
	Value *T
	Error string
}

type failure struct {
	Error string `json:"error"`
}

// MarshalJSON implements json.Marshaler.
func (p Part[T]) MarshalJSON() ([]byte, error) {
	if p.Error != "" {
		return json.Marshal(failure{p.Error})
	}
	return json.Marshal(p.Value)
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Part[T]) UnmarshalJSON(text []byte) error {
	*p = Part[T]{}
	var failed failure
	if err := json.Unmarshal(text, &failed); err != nil {
		return err
	}
	if p.Error = failed.Error; p.Error != "" {
		return nil
	}
	return json.Unmarshal(text, &p.Value)
}
