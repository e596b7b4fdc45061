//! What servers share between threads can be: it is checked when this compiles. `docs/api` shows what cannot.

fn shared<T: Send + Sync + 'static>() {}
fn moved<T: Send + 'static>() {}

#[test]
fn handles_cross_threads() {
    renewal();
    cert_model();
    issuance();
    sni_store();
    transport();
    storage();
    acme();
    facade();
}

fn renewal() {
    use certwright_renewal::{Agenda, Schedule, fleet::Fleet, window::Windows};

    shared::<Agenda<String>>();
    shared::<Fleet<String>>();
    shared::<Schedule>();
    shared::<Windows>();
}

fn cert_model() {
    use certwright_cert_model::{Defaults, Manifest, TlsSecret, ValidatedSpec, Violations};

    shared::<Defaults>();
    shared::<Manifest>();
    shared::<TlsSecret>();
    shared::<ValidatedSpec>();
    shared::<Violations>();
}

fn issuance() {
    use certwright_issuance::{
        CaError, Certificate, CertificateAuthority, CsrError, KeyError, KeyPair, SignError,
        SignedBundle, ToBeSigned, VerifiedCsr,
    };

    shared::<Certificate>();
    shared::<CertificateAuthority>();
    shared::<KeyPair>();
    shared::<SignedBundle>();
    shared::<ToBeSigned>();
    shared::<VerifiedCsr>();
    shared::<(CaError, CsrError, KeyError, SignError)>();
}

fn sni_store() {
    use certwright_sni_store::{
        CertAcceptor, CertDir, CertStore, Challenges, ChangeSet, Current, DirWatch, PairLoader,
        Report, Resolver,
    };
    use rustls::sign::CertifiedKey;

    shared::<CertAcceptor>();
    shared::<CertDir>();
    shared::<CertStore<CertifiedKey>>();
    shared::<Challenges<CertifiedKey>>();
    shared::<ChangeSet<CertifiedKey>>();
    shared::<Current<CertifiedKey>>();
    shared::<DirWatch>();
    shared::<PairLoader>();
    shared::<Report>();
    shared::<Resolver>();
}

fn transport() {
    use certwright_transport::connector::{DialError, Tcp};
    use certwright_transport::upstream_client::RequestError;
    use certwright_transport::{
        Connector, Identity, Material, PeerError, PeerVerifier, Roots, Rotating, TransportError,
        Upstream, UpstreamClient,
    };
    use http_body_util::Empty;
    use hyper::body::Bytes;

    shared::<Connector<Tcp>>();
    shared::<Identity>();
    shared::<Material>();
    shared::<PeerVerifier>();
    shared::<Roots>();
    shared::<Rotating>();
    shared::<Upstream>();
    shared::<UpstreamClient<Empty<Bytes>>>();
    shared::<(PeerError, TransportError, DialError, RequestError)>();
}

fn storage() {
    use certwright_storage::key_wrap::{KeyRing, SealedStorage};
    use certwright_storage::{
        Acquisition, EtcdStorage, FileStorage, Lease, MemoryStorage, StorageError, Txn, Watch,
    };

    shared::<Acquisition>();
    shared::<EtcdStorage>();
    shared::<FileStorage>();
    shared::<KeyRing>();
    shared::<Lease>();
    shared::<MemoryStorage>();
    shared::<SealedStorage<MemoryStorage>>();
    shared::<StorageError>();
    shared::<Txn>();
    // A stream: one task reads it.
    moved::<Watch>();
}

fn acme() {
    use certwright_acme::account::Account;
    use certwright_acme::event::{Event, EventStream};
    use certwright_acme::{
        AcmeServer, Engine, EngineError, IssuedCertificate, Issuer, Keeper, SetupError,
    };

    shared::<Account>();
    shared::<AcmeServer>();
    shared::<Engine>();
    shared::<(EngineError, SetupError)>();
    shared::<(Event, EventStream)>();
    shared::<IssuedCertificate>();
    shared::<Issuer>();
    shared::<Keeper>();
}

fn facade() {
    use certwright::acme::AcmeIssuers;
    use certwright::run::{DirStore, Handle, MemoryStore, Runner, SharedStore};
    use certwright::{Documents, Inventory, IssueError, Manager, SniPublisher, TransportPublisher};

    shared::<AcmeIssuers>();
    shared::<(DirStore, MemoryStore, SharedStore)>();
    shared::<Documents>();
    shared::<Handle>();
    shared::<(Inventory, IssueError)>();
    shared::<Manager>();
    shared::<SniPublisher>();
    // They own closures of yours, which are called from one place.
    moved::<Runner>();
    moved::<TransportPublisher>();
}
