package notify

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// isCertificate tells whether the other side's certificate is what is wrong:
// these errors name hosts and authorities, and help.
func isCertificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}
