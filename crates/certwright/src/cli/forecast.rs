//! `forecast`: how many renewals there will be and when, and whether the CAs allow them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use certwright::ResourceName;
use certwright_cert_model::issuer_ref::{IssuerKind, IssuerRef};
use certwright_cert_model::status::ConditionStatus;
use certwright_renewal::LoadTimeline;
use certwright_renewal::fleet::{Fleet, Goal, Load, Quota, Renewal, Shortage};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::output::{Output, Style};
use super::place::{Clock, Manifests, Place, Scope, World};
use super::run::duration;
use super::{Answer, Exit, get, one_line};

/// Tells how many renewals are ahead, per hour or day, where a CA would refuse some, and who cannot be saved.
///
/// Ends with 3 if certificates come late or are lost. Renewals after the next are counted as if every certificate were
/// like the one there is.
#[derive(Args, Debug)]
pub(crate) struct Forecast {
    #[command(flatten)]
    manifests: Manifests,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    clock: Clock,
    /// How far to look.
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = duration)]
    horizon: std::time::Duration,
    /// What is counted together.
    #[arg(long, value_enum, value_name = "STEP", default_value_t)]
    step: Step,
    /// What an issuer allows: NAMESPACE/NAME=COUNT/WINDOW, or NAME=… for a ClusterIssuer, such as
    /// letsencrypt=300/3h; a bucket that refills evenly.
    #[arg(long, value_name = "ISSUER=COUNT/WINDOW")]
    quota: Vec<IssuerQuota>,
    /// How much sooner a renewal may come than it is planned.
    #[arg(long, value_name = "DURATION", default_value = "3d", value_parser = duration)]
    earlier: std::time::Duration,
    /// How far renewals are moved.
    #[arg(long, value_enum, value_name = "GOAL", default_value_t)]
    goal: Aim,
    /// Writes the picture to a file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Step {
    #[default]
    Day,
    Hour,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Aim {
    /// No step holds more than it has to.
    #[default]
    LowestPeak,
    /// What the quotas have room for stays.
    WithinQuotas,
}

#[derive(Clone, Debug)]
struct IssuerQuota {
    issuer: String,
    quota: Quota,
}

impl FromStr for IssuerQuota {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "expected ISSUER=COUNT/WINDOW, such as letsencrypt=300/3h".to_owned();
        let (issuer, rest) = text.split_once('=').ok_or_else(form)?;
        let (count, window) = rest.split_once('/').ok_or_else(form)?;
        let (count, window) = (count.parse().map_err(|_| form())?, duration(window)?);
        let window = Duration::try_from(window).map_err(|_| form())?;
        let quota = Quota::refilled(count, window);
        // Of a bucket of one, no span has a share.
        if quota.count() == 0 {
            return Err("too few to be spread over halves of the window; name a greater COUNT, with its WINDOW".to_owned());
        }
        Ok(Self {
            issuer: issuer.to_owned(),
            quota,
        })
    }
}

/// How many renewals one certificate may bring: one that is renewed every minute must not fill the memory.
const MOST_EACH: u32 = 10_000;

impl Forecast {
    pub(crate) fn run(self, output: &mut Output) -> Answer {
        let mut world = World::read(&self.manifests, &self.place, self.clock.now(), output)?;
        let (fleet, names) = self.fleet(&mut world, output)?;
        let step = match self.step {
            Step::Day => Duration::DAY,
            Step::Hour => Duration::HOUR,
        };
        let goal = match self.goal {
            Aim::LowestPeak => Goal::LowestPeak,
            Aim::WithinQuotas => Goal::WithinQuotas,
        };
        let before = fleet.forecast(step);
        let smoothed = fleet.smooth(goal);
        let after = smoothed.forecast(step);
        let picture = LoadTimeline::new(before.clone()).after(after.clone());
        let picture = picture.unwrap_or_else(|| LoadTimeline::new(before.clone()));
        if let Some(file) = &self.svg {
            fs::write(file, picture.svg())
                .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        }
        let certificates = names.iter().collect::<BTreeSet<_>>().len();
        let told = |shortage: &Shortage| {
            let text = shortage.to_string();
            let what = text.strip_prefix(&format!("renewal {} ", shortage.renewal));
            let name = &names[shortage.renewal];
            (name, what.unwrap_or(&text).to_owned())
        };
        let instant = |at: OffsetDateTime| at.format(&Rfc3339).unwrap_or_default();
        if output.json {
            let overruns = fleet.overruns();
            let overruns = overruns.iter().map(|overrun| {
                json!({
                    "issuer": overrun.quota,
                    "from": instant(overrun.from),
                    "until": instant(overrun.until),
                    "renewals": overrun.renewals,
                    "allowed": overrun.allowed,
                })
            });
            let shortages = smoothed.shortages().iter().map(|shortage| {
                let (name, what) = told(shortage);
                json!({
                    "namespace": name.namespace,
                    "name": name.name,
                    "late": shortage.late.map(instant),
                    "message": what,
                })
            });
            output.document(&json!({
                "kind": "Forecast",
                "from": instant(world.now),
                "step": step.whole_seconds(),
                "certificates": certificates,
                "renewals": fleet.len(),
                "moved": smoothed.moved(),
                "load": load(&before, &after),
                "overruns": overruns.collect::<Value>(),
                "shortages": shortages.collect::<Value>(),
            }))?;
        } else if fleet.is_empty() {
            output.line("There is nothing to renew.")?;
        } else {
            let unit = match self.step {
                Step::Day => "a day",
                Step::Hour => "an hour",
            };
            let days = Duration::try_from(self.horizon).map_or(0, Duration::whole_days);
            output.line(&format!(
                "{} renewals of {certificates} certificates in {days} days",
                fleet.len()
            ))?;
            let most = |load: &Load| load.busiest().map_or(0, |(_, count)| count);
            output.line(&format!(
                "at most {} {unit}; after smoothing {}, with {} of them moved\n",
                most(&before),
                most(&after),
                smoothed.moved()
            ))?;
            output.text(&picture.text(60, 24))?;
            for overrun in fleet.overruns() {
                output.line(&format!(
                    "{} {}: {} renewals from {} to {}, {} allowed",
                    output.paint(Style::Worth, "too many:"),
                    one_line(overrun.quota),
                    overrun.renewals,
                    instant(overrun.from),
                    instant(overrun.until),
                    overrun.allowed
                ))?;
            }
            for shortage in smoothed.shortages() {
                let (name, what) = told(shortage);
                let kind = match shortage.late {
                    Some(_) => output.paint(Style::Worth, "late:"),
                    None => output.paint(Style::Bad, "lost:"),
                };
                output.line(&format!("{kind} {}", one_line(&format!("{name} {what}"))))?;
            }
        }
        Ok(match smoothed.shortages() {
            [] if world.problems == 0 => Exit::Done,
            [] => Exit::Wrong,
            _ => Exit::Attention,
        })
    }

    /// The renewals ahead, and whose each is.
    fn fleet(
        &self,
        world: &mut World,
        output: &mut Output,
    ) -> Result<(Fleet<String>, Vec<ResourceName>), Box<dyn std::error::Error>> {
        let now = world.now;
        let horizon = now.saturating_add(Duration::try_from(self.horizon)?);
        let earlier = Duration::try_from(self.earlier)?;
        let mut quotas: BTreeMap<&str, Quota> = BTreeMap::new();
        for quota in &self.quota {
            quotas.insert(&quota.issuer, quota.quota.clone());
        }
        let mut fleet = Fleet::new();
        let mut names = Vec::new();
        let mut known = BTreeSet::new();
        for view in get::certificates(world) {
            if !self.scope.has(&view.namespace) {
                continue;
            }
            let name = ResourceName::new(&view.namespace, &view.name);
            let key = issuer_key(&name.namespace, &view.issuer);
            if known.insert(key.clone()) {
                // Without a quota everything is allowed.
                let quota = quotas.remove(key.as_str());
                let quota = quota.unwrap_or_else(|| Quota::new(u32::MAX, Duration::HOUR));
                fleet.set_quota(key.clone(), quota);
            }
            let ready = view.status.conditions.iter();
            let mut ready = ready.filter(|condition| condition.kind == "Ready");
            let ready = ready.any(|condition| condition.status == ConditionStatus::True);
            let mut renewals = Vec::new();
            match world.manager.schedule(&name, now) {
                Some(schedule) => {
                    let first = Renewal::of(&schedule, earlier, now);
                    let from = schedule.lifetime().not_before();
                    let period = (schedule.due() - from).max(Duration::SECOND);
                    for number in 0..MOST_EACH {
                        let by = period.saturating_mul(i32::try_from(number)?);
                        let [earliest, planned, latest] =
                            [first.earliest(), first.planned(), first.latest()]
                                .map(|at| at.saturating_add(by));
                        // Where instants end, one is all there is.
                        if planned > horizon || (number > 0 && planned == horizon) {
                            break;
                        }
                        renewals.push(Renewal::new(earliest, planned, latest)?);
                    }
                }
                // Its renewal is disabled.
                None if ready => {}
                None => {
                    let end = view.status.not_after.filter(|end| *end > now);
                    let latest = end.unwrap_or_else(|| now.saturating_add(Duration::DAY));
                    renewals.push(Renewal::new(now.replace_nanosecond(0)?, now, latest)?);
                }
            }
            for renewal in renewals {
                fleet.add(&key, renewal)?;
                names.push(name.clone());
            }
        }
        // A name that is mistyped must not look like room without end.
        for issuer in quotas.keys() {
            output.warn(&format!(
                "quota of {issuer}: no Certificate names such an issuer"
            ));
        }
        Ok((fleet, names))
    }
}

/// How quotas name an issuer.
fn issuer_key(namespace: &str, issuer: &IssuerRef) -> String {
    match &issuer.kind {
        IssuerKind::ClusterIssuer => issuer.name.clone(),
        IssuerKind::External { .. } => {
            format!("{}.{}/{}", issuer.kind(), issuer.group(), issuer.name)
        }
        IssuerKind::Issuer => format!("{namespace}/{}", issuer.name),
    }
}

/// Every step with something in it.
fn load(before: &Load, after: &Load) -> Value {
    let mut steps: BTreeMap<OffsetDateTime, [usize; 2]> = BTreeMap::new();
    for (at, count) in before.iter() {
        steps.entry(at).or_default()[0] = count;
    }
    for (at, count) in after.iter() {
        steps.entry(at).or_default()[1] = count;
    }
    let object = |(at, [before, after]): (OffsetDateTime, [usize; 2])| json!({"from": at.format(&Rfc3339).ok(), "before": before, "after": after});
    steps.into_iter().map(object).collect()
}
