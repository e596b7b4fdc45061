//! Names, variables and what is made of them.
//!
//! Names and variables are lego's; those marked "ours" are what lego asks the provider
//! for, and dns-update wants to be told. Providers are left out whose code replaces
//! records instead of adding to them.

use core::fmt;

use dns_update::providers::azuredns::{AzureDnsConfig, AzureEnvironment};
use dns_update::providers::bluecatv2::BluecatV2Config;
use dns_update::providers::edgedns::EdgeDnsConfig;
use dns_update::providers::infoblox::InfobloxConfig;
use dns_update::providers::joker::JokerAuth;
use dns_update::providers::lightsail::LightsailConfig;
use dns_update::providers::ovh::OvhEndpoint;
use dns_update::providers::route53::Route53Config;
use dns_update::providers::volcengine::VolcengineConfig;
use dns_update::providers::yandexcloud::YandexCloudConfig;

use dns_update::DnsUpdater;

use super::super::ProviderError;
use super::Made;
use super::credentials::Credentials;
use super::{google, update};

/// A provider.
pub(super) struct Entry {
    pub(super) title: &'static str,
    pub(super) names: &'static [&'static str],
    pub(super) prefix: &'static str,
    pub(super) ttl: u32,
    pub(super) required: &'static [&'static [&'static str]],
    pub(super) optional: &'static [&'static [&'static str]],
    pub(super) make: fn(&Credentials<'_>) -> Result<Made, ProviderError>,
}

/// The provider of a name.
pub(super) fn find(name: &str) -> Result<&'static Entry, ProviderError> {
    let mut entries = ENTRIES.iter();
    if let Some(entry) = entries.find(|entry| entry.names.contains(&name)) {
        return Ok(entry);
    }
    let mut refused = REFUSED.iter();
    if let Some((name, reason)) = refused.find(|(refused, _)| *refused == name) {
        return Err(ProviderError::NotThere {
            provider: name,
            reason,
        });
    }
    let names = ENTRIES.iter().flat_map(|entry| entry.names);
    let mut near: Vec<(usize, &'static str)> = names
        .map(|known| (distance(&name.to_ascii_lowercase(), known), *known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .collect();
    near.sort_unstable();
    let near = near.into_iter().take(MAX_NEAR).map(|(_, name)| name);
    Err(ProviderError::Unknown {
        name: name.to_owned(),
        near: near.collect(),
    })
}

/// How many letters must be changed, put in or taken out.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, one) in from.bytes().enumerate() {
        let mut before = core::mem::replace(&mut row[0], index + 1);
        for (column, other) in to.bytes().enumerate() {
            let changed = before + usize::from(one != other);
            before = row[column + 1];
            row[column + 1] = changed.min(before + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

const MAX_NEAR: usize = 4;

fn made(
    credentials: &Credentials<'_>,
    updater: dns_update::Result<DnsUpdater>,
) -> Result<Made, ProviderError> {
    updater
        .map(Made::from)
        .map_err(|error| credentials.unusable(&error))
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.names[0])
    }
}

/// Names lego has, which are not there, and why.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("acme-dns", IN_CODE),
    ("ddnss", OVERWRITES),
    ("duckdns", OVERWRITES),
    ("exec", IN_CODE),
    ("freemyip", OVERWRITES),
    ("httpreq", IN_CODE),
    ("hurricane", OVERWRITES),
    ("manual", IN_CODE),
];
const IN_CODE: &str = "give a DnsProvider of your own in code";
const OVERWRITES: &str =
    "it keeps one value per name and overwrites it, and a name and its wildcard need two";

/// All, by their first names.
#[rustfmt::skip]
pub(super) const ENTRIES: &[Entry] = &[
    Entry { title: "Alibaba Cloud DNS", names: &["alidns"], prefix: "ALICLOUD", ttl: 600,
        required: &[&["ALICLOUD_ACCESS_KEY"], &["ALICLOUD_SECRET_KEY"]],
        optional: &[&["ALICLOUD_SECURITY_TOKEN"], &["ALICLOUD_REGION_ID"], &["ALICLOUD_LINE"]],
        make: |c| made(c, DnsUpdater::new_alidns(c.text("ALICLOUD_ACCESS_KEY"), c.text("ALICLOUD_SECRET_KEY"), c.optional("ALICLOUD_REGION_ID"), c.optional("ALICLOUD_SECURITY_TOKEN"), c.optional("ALICLOUD_LINE"), c.timeout()?)) },
    Entry { title: "ArvanCloud", names: &["arvancloud"], prefix: "ARVANCLOUD", ttl: 600,
        required: &[&["ARVANCLOUD_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_arvancloud(c.text("ARVANCLOUD_API_KEY"), c.timeout()?)) },
    Entry { title: "AutoDNS (InterNetX)", names: &["autodns"], prefix: "AUTODNS", ttl: 600,
        required: &[&["AUTODNS_API_USER"], &["AUTODNS_API_PASSWORD"]], optional: &[&["AUTODNS_CONTEXT"]],
        make: |c| made(c, DnsUpdater::new_autodns(c.text("AUTODNS_API_USER"), c.text("AUTODNS_API_PASSWORD"), c.number("AUTODNS_CONTEXT")?, c.timeout()?)) },
    Entry { title: "Azure DNS, with a client secret", names: &["azuredns"], prefix: "AZURE", ttl: 60,
        required: &[&["AZURE_CLIENT_ID"], &["AZURE_CLIENT_SECRET"], &["AZURE_TENANT_ID"], &["AZURE_SUBSCRIPTION_ID"], &["AZURE_RESOURCE_GROUP"]],
        optional: &[&["AZURE_ENVIRONMENT"]],
        make: |c| made(c, DnsUpdater::new_azuredns(AzureDnsConfig {
            tenant_id: c.text("AZURE_TENANT_ID").to_owned(),
            client_id: c.text("AZURE_CLIENT_ID").to_owned(),
            client_secret: c.text("AZURE_CLIENT_SECRET").to_owned(),
            subscription_id: c.text("AZURE_SUBSCRIPTION_ID").to_owned(),
            resource_group: c.text("AZURE_RESOURCE_GROUP").to_owned(),
            environment: match c.optional("AZURE_ENVIRONMENT") {
                None | Some("public") => AzureEnvironment::Public,
                Some("china") => AzureEnvironment::China,
                Some("usgovernment") => AzureEnvironment::UsGovernment,
                Some(other) => return Err(c.wrong("AZURE_ENVIRONMENT", format!("{other:?} is none of public, china and usgovernment"))),
            },
            request_timeout: c.timeout()?,
        })) },
    Entry { title: "Baidu Cloud", names: &["baiducloud"], prefix: "BAIDUCLOUD", ttl: 300,
        required: &[&["BAIDUCLOUD_ACCESS_KEY_ID"], &["BAIDUCLOUD_SECRET_ACCESS_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_baiducloud(c.text("BAIDUCLOUD_ACCESS_KEY_ID"), c.text("BAIDUCLOUD_SECRET_ACCESS_KEY"), c.timeout()?)) },
    Entry { title: "BlueCat Address Manager v2", names: &["bluecatv2"], prefix: "BLUECATV2", ttl: 120,
        required: &[&["BLUECATV2_SERVER_URL"], &["BLUECATV2_USERNAME"], &["BLUECATV2_PASSWORD"], &["BLUECATV2_CONFIG_NAME"], &["BLUECATV2_VIEW_NAME"]],
        optional: &[&["BLUECATV2_SKIP_DEPLOY"]],
        make: |c| made(c, DnsUpdater::new_bluecatv2(BluecatV2Config {
            server_url: c.text("BLUECATV2_SERVER_URL").to_owned(),
            username: c.text("BLUECATV2_USERNAME").to_owned(),
            password: c.text("BLUECATV2_PASSWORD").to_owned(),
            config_name: c.text("BLUECATV2_CONFIG_NAME").to_owned(),
            view_name: c.text("BLUECATV2_VIEW_NAME").to_owned(),
            skip_deploy: c.flag("BLUECATV2_SKIP_DEPLOY")?,
            request_timeout: c.timeout()?,
        })) },
    Entry { title: "bunny.net", names: &["bunny"], prefix: "BUNNY", ttl: 60,
        required: &[&["BUNNY_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_bunny(c.text("BUNNY_API_KEY"), c.timeout()?)) },
    Entry { title: "Cloudflare, with a token for Zone:Read and DNS:Edit", names: &["cloudflare"], prefix: "CLOUDFLARE", ttl: 120,
        required: &[&["CF_DNS_API_TOKEN", "CLOUDFLARE_DNS_API_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_cloudflare(c.text("CF_DNS_API_TOKEN"), c.timeout()?)) },
    Entry { title: "ClouDNS, by one of the two ids", names: &["cloudns"], prefix: "CLOUDNS", ttl: 60,
        required: &[&["CLOUDNS_AUTH_PASSWORD"]], optional: &[&["CLOUDNS_AUTH_ID"], &["CLOUDNS_SUB_AUTH_ID"]],
        make: |c| made(c, DnsUpdater::new_cloudns(c.optional("CLOUDNS_AUTH_ID"), c.optional("CLOUDNS_SUB_AUTH_ID"), c.text("CLOUDNS_AUTH_PASSWORD"), c.timeout()?)) },
    Entry { title: "Constellix", names: &["constellix"], prefix: "CONSTELLIX", ttl: 60,
        required: &[&["CONSTELLIX_API_KEY"], &["CONSTELLIX_SECRET_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_constellix(c.text("CONSTELLIX_API_KEY"), c.text("CONSTELLIX_SECRET_KEY"), c.timeout()?)) },
    Entry { title: "cPanel", names: &["cpanel"], prefix: "CPANEL", ttl: 300,
        required: &[&["CPANEL_BASE_URL"], &["CPANEL_USERNAME"], &["CPANEL_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_cpanel(c.text("CPANEL_BASE_URL"), c.text("CPANEL_USERNAME"), c.text("CPANEL_TOKEN"), c.timeout()?)) },
    Entry { title: "deSEC", names: &["desec"], prefix: "DESEC", ttl: 3600,
        required: &[&["DESEC_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_desec(c.text("DESEC_TOKEN"), c.timeout()?)) },
    Entry { title: "DigitalOcean", names: &["digitalocean"], prefix: "DO", ttl: 30,
        required: &[&["DO_AUTH_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_digitalocean(c.text("DO_AUTH_TOKEN"), c.timeout()?)) },
    // The account is ours.
    Entry { title: "DNSimple", names: &["dnsimple"], prefix: "DNSIMPLE", ttl: 120,
        required: &[&["DNSIMPLE_OAUTH_TOKEN"], &["DNSIMPLE_ACCOUNT_ID"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_dnsimple(c.text("DNSIMPLE_OAUTH_TOKEN"), c.text("DNSIMPLE_ACCOUNT_ID"), c.timeout()?)) },
    Entry { title: "DNS Made Easy", names: &["dnsmadeeasy"], prefix: "DNSMADEEASY", ttl: 120,
        required: &[&["DNSMADEEASY_API_KEY"], &["DNSMADEEASY_API_SECRET"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_dnsmadeeasy(c.text("DNSMADEEASY_API_KEY"), c.text("DNSMADEEASY_API_SECRET"), c.timeout()?)) },
    Entry { title: "Domeneshop", names: &["domeneshop", "domainnameshop"], prefix: "DOMENESHOP", ttl: 300,
        required: &[&["DOMENESHOP_API_TOKEN"], &["DOMENESHOP_API_SECRET"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_domeneshop(c.text("DOMENESHOP_API_TOKEN"), c.text("DOMENESHOP_API_SECRET"), c.timeout()?)) },
    Entry { title: "DreamHost", names: &["dreamhost"], prefix: "DREAMHOST", ttl: 300,
        required: &[&["DREAMHOST_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_dreamhost(c.text("DREAMHOST_API_KEY"), c.timeout()?)) },
    Entry { title: "Dynu", names: &["dynu"], prefix: "DYNU", ttl: 300,
        required: &[&["DYNU_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_dynu(c.text("DYNU_API_KEY"), c.timeout()?)) },
    Entry { title: "easyDNS", names: &["easydns"], prefix: "EASYDNS", ttl: 120,
        required: &[&["EASYDNS_TOKEN"], &["EASYDNS_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_easydns(c.text("EASYDNS_TOKEN"), c.text("EASYDNS_KEY"), c.timeout()?)) },
    Entry { title: "Akamai Edge DNS", names: &["edgedns", "fastdns"], prefix: "AKAMAI", ttl: 120,
        required: &[&["AKAMAI_HOST"], &["AKAMAI_CLIENT_TOKEN"], &["AKAMAI_CLIENT_SECRET"], &["AKAMAI_ACCESS_TOKEN"]],
        optional: &[&["AKAMAI_ACCOUNT_SWITCH_KEY"]],
        make: |c| made(c, DnsUpdater::new_edgedns(EdgeDnsConfig {
            host: c.text("AKAMAI_HOST").to_owned(),
            client_token: c.text("AKAMAI_CLIENT_TOKEN").to_owned(),
            client_secret: c.text("AKAMAI_CLIENT_SECRET").to_owned(),
            access_token: c.text("AKAMAI_ACCESS_TOKEN").to_owned(),
            account_switch_key: c.optional("AKAMAI_ACCOUNT_SWITCH_KEY").map(str::to_owned),
            request_timeout: c.timeout()?,
        })) },
    Entry { title: "Exoscale", names: &["exoscale"], prefix: "EXOSCALE", ttl: 120,
        required: &[&["EXOSCALE_API_KEY"], &["EXOSCALE_API_SECRET"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_exoscale(c.text("EXOSCALE_API_KEY"), c.text("EXOSCALE_API_SECRET"), c.timeout()?)) },
    Entry { title: "Gandi LiveDNS", names: &["gandiv5"], prefix: "GANDIV5", ttl: 300,
        required: &[&["GANDIV5_PERSONAL_ACCESS_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_gandiv5(c.text("GANDIV5_PERSONAL_ACCESS_TOKEN"), c.timeout()?)) },
    Entry { title: "Google Cloud DNS, with a service account", names: &["gcloud"], prefix: "GCE", ttl: 120,
        required: &[&["GCE_SERVICE_ACCOUNT"]],
        optional: &[&["GCE_PROJECT"], &["GCE_ZONE_ID"], &["GCE_ALLOW_PRIVATE_ZONE"], &["GCE_IMPERSONATE_SERVICE_ACCOUNT"]],
        make: |c| made(c, DnsUpdater::new_google_cloud_dns(google::config(c)?)) },
    Entry { title: "Gcore", names: &["gcore"], prefix: "GCORE", ttl: 120,
        required: &[&["GCORE_PERMANENT_API_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_gcore(c.text("GCORE_PERMANENT_API_TOKEN"), c.timeout()?)) },
    Entry { title: "GleSYS", names: &["glesys"], prefix: "GLESYS", ttl: 60,
        required: &[&["GLESYS_API_USER"], &["GLESYS_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_glesys(c.text("GLESYS_API_USER"), c.text("GLESYS_API_KEY"), c.timeout()?)) },
    Entry { title: "GoDaddy", names: &["godaddy"], prefix: "GODADDY", ttl: 600,
        required: &[&["GODADDY_API_KEY"], &["GODADDY_API_SECRET"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_godaddy(c.text("GODADDY_API_KEY"), c.text("GODADDY_API_SECRET"), c.timeout()?)) },
    Entry { title: "Hetzner Cloud", names: &["hetzner"], prefix: "HETZNER", ttl: 120,
        required: &[&["HETZNER_API_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_hetzner(c.text("HETZNER_API_TOKEN"), c.timeout()?)) },
    Entry { title: "hosting.de", names: &["hostingde"], prefix: "HOSTINGDE", ttl: 120,
        required: &[&["HOSTINGDE_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_hostingde(c.text("HOSTINGDE_API_KEY"), c.timeout()?)) },
    Entry { title: "Hostinger", names: &["hostinger"], prefix: "HOSTINGER", ttl: 120,
        required: &[&["HOSTINGER_API_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_hostinger(c.text("HOSTINGER_API_TOKEN"), c.timeout()?)) },
    Entry { title: "Huawei Cloud", names: &["huaweicloud"], prefix: "HUAWEICLOUD", ttl: 300,
        required: &[&["HUAWEICLOUD_ACCESS_KEY_ID"], &["HUAWEICLOUD_SECRET_ACCESS_KEY"], &["HUAWEICLOUD_REGION"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_huaweicloud(c.text("HUAWEICLOUD_ACCESS_KEY_ID"), c.text("HUAWEICLOUD_SECRET_ACCESS_KEY"), c.text("HUAWEICLOUD_REGION"), c.timeout()?)) },
    Entry { title: "IBM Cloud (SoftLayer)", names: &["ibmcloud"], prefix: "SOFTLAYER", ttl: 120,
        required: &[&["SOFTLAYER_USERNAME"], &["SOFTLAYER_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_ibmcloud(c.text("SOFTLAYER_USERNAME"), c.text("SOFTLAYER_API_KEY"), c.timeout()?)) },
    Entry { title: "Infoblox", names: &["infoblox"], prefix: "INFOBLOX", ttl: 120,
        required: &[&["INFOBLOX_HOST"], &["INFOBLOX_USERNAME"], &["INFOBLOX_PASSWORD"]],
        optional: &[&["INFOBLOX_PORT"], &["INFOBLOX_WAPI_VERSION"], &["INFOBLOX_DNS_VIEW"]],
        make: |c| made(c, DnsUpdater::new_infoblox(InfobloxConfig {
            host: c.text("INFOBLOX_HOST").to_owned(),
            port: c.optional("INFOBLOX_PORT").map(str::to_owned),
            username: c.text("INFOBLOX_USERNAME").to_owned(),
            password: c.text("INFOBLOX_PASSWORD").to_owned(),
            wapi_version: c.optional("INFOBLOX_WAPI_VERSION").map(str::to_owned),
            dns_view: c.optional("INFOBLOX_DNS_VIEW").map(str::to_owned),
            request_timeout: c.timeout()?,
        })) },
    Entry { title: "Infomaniak", names: &["infomaniak"], prefix: "INFOMANIAK", ttl: 300,
        required: &[&["INFOMANIAK_ACCESS_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_infomaniak(c.text("INFOMANIAK_ACCESS_TOKEN"), c.timeout()?)) },
    Entry { title: "INWX, without a second factor", names: &["inwx"], prefix: "INWX", ttl: 300,
        required: &[&["INWX_USERNAME"], &["INWX_PASSWORD"]], optional: &[&["INWX_SANDBOX"]],
        make: |c| made(c, DnsUpdater::new_inwx(c.text("INWX_USERNAME"), c.text("INWX_PASSWORD"), c.flag("INWX_SANDBOX")?, c.timeout()?)) },
    Entry { title: "IONOS", names: &["ionos"], prefix: "IONOS", ttl: 300,
        required: &[&["IONOS_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_ionos(c.text("IONOS_API_KEY"), c.timeout()?)) },
    Entry { title: "IPv64", names: &["ipv64"], prefix: "IPV64", ttl: 60,
        required: &[&["IPV64_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_ipv64(c.text("IPV64_API_KEY"), c.timeout()?)) },
    Entry { title: "Joker DMAPI, by a key or a user", names: &["joker"], prefix: "JOKER", ttl: 120,
        required: &[], optional: &[&["JOKER_API_KEY"], &["JOKER_USERNAME"], &["JOKER_PASSWORD"], &["JOKER_API_MODE"]],
        make: |c| {
            if let Some(mode) = c.optional("JOKER_API_MODE").filter(|mode| *mode != "DMAPI") {
                return Err(c.wrong("JOKER_API_MODE", format!("{mode:?} is not there; use DMAPI")));
            }
            let auth = match (c.optional("JOKER_API_KEY"), c.optional("JOKER_USERNAME"), c.optional("JOKER_PASSWORD")) {
                (Some(key), _, _) => JokerAuth::ApiKey(key.to_owned()),
                (None, Some(username), Some(password)) => JokerAuth::UsernamePassword { username: username.to_owned(), password: password.to_owned() },
                (None, _, _) => return Err(c.wrong("JOKER_API_KEY", "it is not set; set it, or JOKER_USERNAME and JOKER_PASSWORD".to_owned())),
            };
            made(c, DnsUpdater::new_joker(auth, c.timeout()?))
        } },
    Entry { title: "Amazon Lightsail", names: &["lightsail"], prefix: "LIGHTSAIL", ttl: 120,
        required: &[&["AWS_ACCESS_KEY_ID"], &["AWS_SECRET_ACCESS_KEY"]], optional: &[&["AWS_SESSION_TOKEN"], &["DNS_ZONE"]],
        make: |c| made(c, DnsUpdater::new_lightsail(LightsailConfig {
            access_key_id: c.text("AWS_ACCESS_KEY_ID").to_owned(),
            secret_access_key: c.text("AWS_SECRET_ACCESS_KEY").to_owned(),
            session_token: c.optional("AWS_SESSION_TOKEN").map(str::to_owned),
            // Its DNS is in one region only.
            region: None,
            domain: c.optional("DNS_ZONE").map(str::to_owned),
            request_timeout: c.timeout()?,
        })) },
    Entry { title: "Linode", names: &["linode", "linodev4"], prefix: "LINODE", ttl: 300,
        required: &[&["LINODE_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_linode(c.text("LINODE_TOKEN"), c.timeout()?)) },
    Entry { title: "LuaDNS", names: &["luadns"], prefix: "LUADNS", ttl: 300,
        required: &[&["LUADNS_API_USERNAME"], &["LUADNS_API_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_luadns(c.text("LUADNS_API_USERNAME"), c.text("LUADNS_API_TOKEN"), c.timeout()?)) },
    Entry { title: "Mythic Beasts", names: &["mythicbeasts"], prefix: "MYTHICBEASTS", ttl: 120,
        required: &[&["MYTHICBEASTS_USERNAME"], &["MYTHICBEASTS_PASSWORD"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_mythicbeasts(c.text("MYTHICBEASTS_USERNAME"), c.text("MYTHICBEASTS_PASSWORD"), c.timeout()?)) },
    // The address is ours: the one from which Namecheap lets you in.
    Entry { title: "Namecheap", names: &["namecheap"], prefix: "NAMECHEAP", ttl: 120,
        required: &[&["NAMECHEAP_API_USER"], &["NAMECHEAP_API_KEY"], &["NAMECHEAP_CLIENT_IP"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_namecheap(c.text("NAMECHEAP_API_USER"), c.text("NAMECHEAP_API_KEY"), c.text("NAMECHEAP_CLIENT_IP"), None::<&str>, c.timeout()?)) },
    Entry { title: "Name.com", names: &["namedotcom"], prefix: "NAMECOM", ttl: 300,
        required: &[&["NAMECOM_USERNAME"], &["NAMECOM_API_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_namedotcom(c.text("NAMECOM_USERNAME"), c.text("NAMECOM_API_TOKEN"), c.timeout()?)) },
    Entry { title: "NameSilo", names: &["namesilo"], prefix: "NAMESILO", ttl: 3600,
        required: &[&["NAMESILO_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_namesilo(c.text("NAMESILO_API_KEY"), c.timeout()?)) },
    Entry { title: "netcup", names: &["netcup"], prefix: "NETCUP", ttl: 300,
        required: &[&["NETCUP_CUSTOMER_NUMBER"], &["NETCUP_API_KEY"], &["NETCUP_API_PASSWORD"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_netcup(c.text("NETCUP_CUSTOMER_NUMBER"), c.text("NETCUP_API_KEY"), c.text("NETCUP_API_PASSWORD"), c.timeout()?)) },
    Entry { title: "Netlify", names: &["netlify"], prefix: "NETLIFY", ttl: 300,
        required: &[&["NETLIFY_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_netlify(c.text("NETLIFY_TOKEN"), c.timeout()?)) },
    Entry { title: "NIFCLOUD", names: &["nifcloud"], prefix: "NIFCLOUD", ttl: 120,
        required: &[&["NIFCLOUD_ACCESS_KEY_ID"], &["NIFCLOUD_SECRET_ACCESS_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_nifcloud(c.text("NIFCLOUD_ACCESS_KEY_ID"), c.text("NIFCLOUD_SECRET_ACCESS_KEY"), c.timeout()?)) },
    Entry { title: "NS1", names: &["ns1"], prefix: "NS1", ttl: 120,
        required: &[&["NS1_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_ns1(c.text("NS1_API_KEY"), c.timeout()?)) },
    Entry { title: "OVH, with an application key", names: &["ovh"], prefix: "OVH", ttl: 120,
        required: &[&["OVH_ENDPOINT"], &["OVH_APPLICATION_KEY"], &["OVH_APPLICATION_SECRET"], &["OVH_CONSUMER_KEY"]], optional: &[],
        make: |c| {
            let text = c.text("OVH_ENDPOINT");
            let endpoint = text.parse::<OvhEndpoint>();
            let endpoint = endpoint.map_err(|_| c.wrong("OVH_ENDPOINT", format!("{text:?} is none of ovh-eu, ovh-us, ovh-ca, kimsufi-eu, kimsufi-ca, soyoustart-eu and soyoustart-ca")))?;
            made(c, DnsUpdater::new_ovh(c.text("OVH_APPLICATION_KEY"), c.text("OVH_APPLICATION_SECRET"), c.text("OVH_CONSUMER_KEY"), endpoint, c.timeout()?))
        } },
    Entry { title: "PowerDNS", names: &["pdns"], prefix: "PDNS", ttl: 120,
        required: &[&["PDNS_API_KEY"], &["PDNS_API_URL"]], optional: &[&["PDNS_SERVER_NAME"]],
        make: |c| made(c, DnsUpdater::new_pdns(c.text("PDNS_API_KEY"), c.optional("PDNS_API_URL"), c.optional("PDNS_SERVER_NAME"), c.timeout()?)) },
    Entry { title: "Porkbun", names: &["porkbun"], prefix: "PORKBUN", ttl: 600,
        required: &[&["PORKBUN_API_KEY"], &["PORKBUN_SECRET_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_porkbun(c.text("PORKBUN_API_KEY"), c.text("PORKBUN_SECRET_API_KEY"), c.timeout()?)) },
    Entry { title: "RFC 2136, signed by TSIG", names: &["rfc2136", "dnsupdate"], prefix: "RFC2136", ttl: 120,
        required: &[&["RFC2136_NAMESERVER", "DNSUPDATE_NAMESERVER"]],
        optional: &[&["RFC2136_TSIG_KEY", "DNSUPDATE_TSIG_KEY"], &["RFC2136_TSIG_SECRET", "DNSUPDATE_TSIG_SECRET"], &["RFC2136_TSIG_ALGORITHM", "DNSUPDATE_TSIG_ALGORITHM"], &["RFC2136_TSIG_FILE", "DNSUPDATE_TSIG_FILE"]],
        make: update::make },
    Entry { title: "Amazon Route 53, with an access key", names: &["route53"], prefix: "AWS", ttl: 10,
        required: &[&["AWS_ACCESS_KEY_ID"], &["AWS_SECRET_ACCESS_KEY"]],
        optional: &[&["AWS_SESSION_TOKEN"], &["AWS_REGION"], &["AWS_HOSTED_ZONE_ID"], &["AWS_PRIVATE_ZONE"]],
        make: |c| made(c, DnsUpdater::new_route53(Route53Config {
            access_key_id: c.text("AWS_ACCESS_KEY_ID").to_owned(),
            secret_access_key: c.text("AWS_SECRET_ACCESS_KEY").to_owned(),
            session_token: c.optional("AWS_SESSION_TOKEN").map(str::to_owned),
            region: c.optional("AWS_REGION").map(str::to_owned),
            hosted_zone_id: c.optional("AWS_HOSTED_ZONE_ID").map(str::to_owned),
            private_zone_only: Some(c.flag("AWS_PRIVATE_ZONE")?),
            endpoint: None,
        })) },
    Entry { title: "UKFast SafeDNS", names: &["safedns"], prefix: "SAFEDNS", ttl: 120,
        required: &[&["SAFEDNS_AUTH_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_safedns(c.text("SAFEDNS_AUTH_TOKEN"), c.timeout()?)) },
    Entry { title: "Scaleway", names: &["scaleway"], prefix: "SCW", ttl: 60,
        required: &[&["SCW_SECRET_KEY", "SCALEWAY_API_TOKEN"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_scaleway(c.text("SCW_SECRET_KEY"), c.timeout()?)) },
    Entry { title: "Selectel v2", names: &["selectelv2"], prefix: "SELECTELV2", ttl: 60,
        required: &[&["SELECTELV2_USERNAME"], &["SELECTELV2_PASSWORD"], &["SELECTELV2_ACCOUNT_ID"], &["SELECTELV2_PROJECT_ID"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_selectel(c.text("SELECTELV2_USERNAME"), c.text("SELECTELV2_PASSWORD"), c.text("SELECTELV2_ACCOUNT_ID"), c.text("SELECTELV2_PROJECT_ID"), c.timeout()?)) },
    Entry { title: "Simply.com", names: &["simply"], prefix: "SIMPLY", ttl: 120,
        required: &[&["SIMPLY_ACCOUNT_NAME"], &["SIMPLY_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_simplycom(c.text("SIMPLY_ACCOUNT_NAME"), c.text("SIMPLY_API_KEY"), c.timeout()?)) },
    Entry { title: "Spaceship", names: &["spaceship"], prefix: "SPACESHIP", ttl: 120,
        required: &[&["SPACESHIP_API_KEY"], &["SPACESHIP_API_SECRET"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_spaceship(c.text("SPACESHIP_API_KEY"), c.text("SPACESHIP_API_SECRET"), c.timeout()?)) },
    Entry { title: "Tencent Cloud DNS", names: &["tencentcloud"], prefix: "TENCENTCLOUD", ttl: 600,
        required: &[&["TENCENTCLOUD_SECRET_ID"], &["TENCENTCLOUD_SECRET_KEY"]], optional: &[&["TENCENTCLOUD_REGION"], &["TENCENTCLOUD_SESSION_TOKEN"]],
        make: |c| made(c, DnsUpdater::new_tencentcloud(c.text("TENCENTCLOUD_SECRET_ID"), c.text("TENCENTCLOUD_SECRET_KEY"), c.optional("TENCENTCLOUD_REGION"), c.optional("TENCENTCLOUD_SESSION_TOKEN"), c.timeout()?)) },
    Entry { title: "TransIP", names: &["transip"], prefix: "TRANSIP", ttl: 60,
        required: &[&["TRANSIP_ACCOUNT_NAME"], &["TRANSIP_PRIVATE_KEY_PATH"]], optional: &[],
        make: |c| {
            let key = c.file_at("TRANSIP_PRIVATE_KEY_PATH")?;
            made(c, DnsUpdater::new_transip(c.text("TRANSIP_ACCOUNT_NAME"), key.as_str(), false, c.timeout()?))
        } },
    Entry { title: "UltraDNS", names: &["ultradns"], prefix: "ULTRADNS", ttl: 120,
        required: &[&["ULTRADNS_USERNAME"], &["ULTRADNS_PASSWORD"]], optional: &[&["ULTRADNS_ENDPOINT"]],
        make: |c| made(c, DnsUpdater::new_ultradns(c.text("ULTRADNS_USERNAME"), c.text("ULTRADNS_PASSWORD"), c.optional("ULTRADNS_ENDPOINT").map(str::to_owned), c.timeout()?)) },
    Entry { title: "Vercel", names: &["vercel"], prefix: "VERCEL", ttl: 60,
        required: &[&["VERCEL_API_TOKEN"]], optional: &[&["VERCEL_TEAM_ID"]],
        make: |c| made(c, DnsUpdater::new_vercel(c.text("VERCEL_API_TOKEN"), c.optional("VERCEL_TEAM_ID"), c.timeout()?)) },
    Entry { title: "Volcano Engine", names: &["volcengine"], prefix: "VOLC", ttl: 600,
        required: &[&["VOLC_ACCESSKEY"], &["VOLC_SECRETKEY"]], optional: &[&["VOLC_REGION"]],
        make: |c| made(c, DnsUpdater::new_volcengine(VolcengineConfig {
            access_key: c.text("VOLC_ACCESSKEY").to_owned(),
            secret_key: c.text("VOLC_SECRETKEY").to_owned(),
            region: c.optional("VOLC_REGION").map(str::to_owned),
            host: None,
            scheme: None,
            request_timeout: c.timeout()?,
        })) },
    Entry { title: "Vultr", names: &["vultr"], prefix: "VULTR", ttl: 120,
        required: &[&["VULTR_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_vultr(c.text("VULTR_API_KEY"), c.timeout()?)) },
    Entry { title: "Websupport", names: &["websupport"], prefix: "WEBSUPPORT", ttl: 600,
        required: &[&["WEBSUPPORT_API_KEY"], &["WEBSUPPORT_SECRET"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_websupport(c.text("WEBSUPPORT_API_KEY"), c.text("WEBSUPPORT_SECRET"), c.timeout()?)) },
    Entry { title: "Yandex Cloud", names: &["yandexcloud"], prefix: "YANDEX_CLOUD", ttl: 60,
        required: &[&["YANDEX_CLOUD_IAM_TOKEN"], &["YANDEX_CLOUD_FOLDER_ID"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_yandexcloud(YandexCloudConfig {
            iam_token_b64: c.text("YANDEX_CLOUD_IAM_TOKEN").to_owned(),
            folder_id: c.text("YANDEX_CLOUD_FOLDER_ID").to_owned(),
            request_timeout: c.timeout()?,
        })) },
    Entry { title: "Zone.eu", names: &["zoneee"], prefix: "ZONEEE", ttl: 300,
        required: &[&["ZONEEE_API_USER"], &["ZONEEE_API_KEY"]], optional: &[],
        make: |c| made(c, DnsUpdater::new_zoneeu(c.text("ZONEEE_API_USER"), c.text("ZONEEE_API_KEY"), c.timeout()?)) },
];
