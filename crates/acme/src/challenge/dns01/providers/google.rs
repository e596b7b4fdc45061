//! Google's service account, which knows its project.

use dns_update::providers::google_cloud_dns::GoogleCloudDnsConfig;
use serde::Deserialize;

use super::super::ProviderError;
use super::credentials::Credentials;

#[derive(Deserialize)]
struct Account {
    project_id: Option<String>,
}

pub(super) fn config(credentials: &Credentials<'_>) -> Result<GoogleCloudDnsConfig, ProviderError> {
    let account = credentials.text("GCE_SERVICE_ACCOUNT");
    let wrong = |reason: &str| credentials.wrong("GCE_SERVICE_ACCOUNT", reason.to_owned());
    // Not the reader's words: they may show a part of the key.
    let read: Account = serde_json::from_str(account)
        .map_err(|_| wrong("it is not the JSON of a service account's key"))?;
    let given = credentials.optional("GCE_PROJECT").map(str::to_owned);
    let project = given.or(read.project_id);
    Ok(GoogleCloudDnsConfig {
        service_account_json: account.to_owned(),
        project_id: project.ok_or_else(|| wrong("it has no project_id; set GCE_PROJECT"))?,
        managed_zone: credentials.optional("GCE_ZONE_ID").map(str::to_owned),
        private_zone: credentials.flag("GCE_ALLOW_PRIVATE_ZONE")?,
        impersonate_service_account: credentials
            .optional("GCE_IMPERSONATE_SERVICE_ACCOUNT")
            .map(str::to_owned),
        request_timeout: credentials.timeout()?,
    })
}
