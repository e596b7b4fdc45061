use super::View::{self, Client, Core, Server};

/// Cases of limbo that we judge otherwise, for one reason.
#[derive(Debug)]
pub struct Exceptions {
    /// Why.
    pub reason: &'static str,
    /// The verifiers that do.
    pub views: &'static [View],
    /// The cases.
    pub ids: &'static [&'static str],
}

/// Every case that we judge otherwise.
pub const EXCEPTIONS: &[Exceptions] = &[
    Exceptions {
        reason: "the number of a revocation list is not needed to use it (RFC 5280, 5.2.3 binds issuers)",
        views: &[Server, Core],
        ids: &["crl::crlnumber-missing", "crl::crlnumber-critical"],
    },
    Exceptions {
        reason: "of a trust anchor only name, key and name constraints count (RFC 5280, 6.1.1 d)",
        views: &[Server, Core],
        ids: &[
            "crl::issuer-missing-crlsign",
            "rfc5280::ski::root-missing-ski",
            "rfc5280::validity::expired-root",
            "rfc5280::ca-empty-subject",
            "rfc5280::unknown-critical-extension-root",
            "rfc5280::root-missing-basic-constraints",
            "rfc5280::root-non-critical-basic-constraints",
            "rfc5280::root-inconsistent-ca-extensions",
            "webpki::aki::root-with-aki-missing-keyidentifier",
            "webpki::aki::root-with-aki-authoritycertissuer",
            "webpki::aki::root-with-aki-authoritycertserialnumber",
            "webpki::aki::root-with-aki-all-fields",
            "webpki::aki::root-with-aki-ski-mismatch",
            "webpki::eku::root-has-eku",
            "webpki::forbidden-rsa-not-divisible-by-8-in-root",
        ],
    },
    Exceptions {
        reason: "a CA certificate as a leaf is refused on purpose",
        views: &[Server, Core, Client],
        ids: &[
            "pathlen::validation-ignores-pathlen-in-leaf",
            "rfc5280::ca-as-leaf",
        ],
    },
    Exceptions {
        reason: "webpki treats self-issued intermediates like others, where RFC 5280, 6.1.4 exempts them; refusing is safe",
        views: &[Server, Core],
        ids: &[
            "pathlen::self-issued-certs-pathlen",
            "rfc5280::nc::permitted-self-issued",
        ],
    },
    Exceptions {
        reason: "key identifiers help to find a path and decide nothing; webpki does not read them",
        views: &[Server, Core],
        ids: &[
            "rfc5280::aki::critical-aki",
            "rfc5280::aki::leaf-missing-aki",
            "rfc5280::aki::intermediate-missing-aki",
            "rfc5280::aki::cross-signed-root-missing-aki",
            "rfc5280::ski::critical-ski",
            "rfc5280::ski::intermediate-missing-ski",
        ],
    },
    Exceptions {
        reason: "the leaf is for clients only, and here it is a client",
        views: &[Client],
        ids: &["rfc5280::eku::ee-wrong-eku"],
    },
    Exceptions {
        reason: "whether an understood extension is critical binds issuers, and changes nothing for a verifier",
        views: &[Server, Core],
        ids: &[
            "rfc5280::nc::permitted-dns-match-noncritical",
            "rfc5280::pc::ica-noncritical-pc",
            "rfc5280::san::noncritical-with-empty-subject",
            "webpki::eku::ee-critical-eku",
            "webpki::san::san-critical-with-nonempty-subject",
        ],
    },
    Exceptions {
        reason: "webpki reads a leading dot in a DNS constraint as OpenSSL does: it still constrains",
        views: &[Server, Core],
        ids: &["rfc5280::nc::invalid-dnsname-leading-period"],
    },
    Exceptions {
        reason: "name constraints of a leaf constrain nobody",
        views: &[Server, Core],
        ids: &[
            "rfc5280::nc::not-allowed-in-ee-noncritical",
            "rfc5280::nc::not-allowed-in-ee-critical",
        ],
    },
    Exceptions {
        reason: "webpki refuses chains with constraints on e-mail names; refusing is safe",
        views: &[Client],
        ids: &[
            "rfc5280::nc::nc-permits-email-exact",
            "rfc5280::nc::nc-permits-email-domain",
            "rfc5280::nc::nc-permits-email-literal-asterisk-exact-match",
            "rfc5280::nc::nc-permits-email-literal-double-asterisk",
            "rfc5280::nc::nc-permits-email-literal-mid-asterisk",
        ],
    },
    Exceptions {
        reason: "underscores are accepted in DNS names, as resolvers do",
        views: &[Server, Core],
        ids: &["rfc5280::san::underscore-dns"],
    },
    Exceptions {
        reason: "the serial number binds issuers; it is read as it is",
        views: &[Server, Core],
        ids: &["rfc5280::serial::too-long", "rfc5280::serial::zero"],
    },
    Exceptions {
        reason: "rustls' own verifier does not look at a leaf's key usage; X509-SVIDs with it are refused",
        views: &[Server, Core],
        ids: &["rfc5280::leaf-ku-keycertsign"],
    },
    Exceptions {
        reason: "the common name is never looked at: names come from the subject alternative names only (RFC 9525, 2)",
        views: &[Server],
        ids: &[
            "webpki::cn::ipv4-hex-mismatch",
            "webpki::cn::ipv4-leading-zeros-mismatch",
            "webpki::cn::ipv6-uppercase-mismatch",
            "webpki::cn::ipv6-uncompressed-mismatch",
            "webpki::cn::ipv6-non-rfc5952-mismatch",
        ],
    },
    Exceptions {
        reason: "the common name is never looked at: names come from the subject alternative names only (RFC 9525, 2)",
        views: &[Server, Core],
        ids: &[
            "webpki::cn::punycode-not-in-san",
            "webpki::cn::utf8-vs-punycode-mismatch",
            "webpki::cn::not-in-san",
            "webpki::cn::case-mismatch",
        ],
    },
    Exceptions {
        reason: "server authentication stands beside anyExtendedKeyUsage, so the purpose is allowed (RFC 5280, 4.2.1.12)",
        views: &[Server, Core],
        ids: &["webpki::eku::ee-anyeku"],
    },
    Exceptions {
        reason: "without an extended key usage every purpose is allowed (RFC 5280, 4.2.1.12)",
        views: &[Server, Core, Client],
        ids: &["webpki::eku::ee-without-eku"],
    },
    Exceptions {
        reason: "constraints without any subtree constrain nothing",
        views: &[Server, Core],
        ids: &[
            "webpki::nc::intermediate-permitted-excluded-subtrees-both-null",
            "webpki::nc::intermediate-permitted-excluded-subtrees-both-empty-sequences",
        ],
    },
    Exceptions {
        reason: "there is no list of public suffixes; a wildcard needs two labels behind it",
        views: &[Server, Core],
        ids: &[
            "webpki::san::public-suffix-multi-label-wildcard-san",
            "webpki::san::public-suffix-private-namespace-wildcard-san",
        ],
    },
    Exceptions {
        reason: "addresses of issuers are not followed, so not read",
        views: &[Server, Core],
        ids: &["webpki::malformed-aia"],
    },
    Exceptions {
        reason: "the chain is judged, not the key of the leaf: a handshake with such a key finds no signature scheme",
        views: &[Server, Core],
        ids: &[
            "webpki::forbidden-p192-leaf",
            "webpki::forbidden-dsa-leaf",
            "webpki::forbidden-weak-rsa-in-leaf",
            "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf",
        ],
    },
];
