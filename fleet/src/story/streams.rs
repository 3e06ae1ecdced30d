//! Tests the story on streams in `tests/fleet/streams`: recordings of what AWS and instances say, with the expected
//! cause.

use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value as Json;

use super::content::{Content, Key};
use super::*;

/// A stream: the answers of AWS's calls, in AWS's field names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    /// What happens in the stream.
    about: String,
    /// Source of the formats and texts, or how it was recorded.
    source: Vec<String>,
    stack: String,
    deployment: Of,
    /// DescribeStackEvents, newest first.
    #[serde(default, rename = "StackEvents")]
    events: Vec<StackEvent>,
    /// DescribeScalingActivities, newest first.
    #[serde(default, rename = "Activities")]
    activities: Vec<ApiActivity>,
    /// DescribeTargetHealth, with the time of each call.
    #[serde(default, rename = "TargetHealth")]
    health: Vec<Asked>,
    /// DescribeInstanceRefreshes.
    #[serde(default, rename = "InstanceRefreshes")]
    refreshes: Vec<ApiRefresh>,
    /// Objects of the evidence bucket, with the tag `ingot:deployment` of their instances.
    #[serde(default, rename = "Evidence")]
    evidence: Vec<Object>,
    /// GetConsoleOutput, decoded.
    #[serde(default, rename = "ConsoleOutput")]
    consoles: Vec<ApiConsole>,
    /// Expected sentences of the story in order; others may come between them.
    tells: Vec<String>,
    /// The expected cause, or the last sentence of a successful deployment.
    ends: String,
    #[serde(default)]
    is_aborted: bool,
}

#[derive(Deserialize)]
struct Of {
    number: u64,
    began: Timestamp,
    tokens: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StackEvent {
    timestamp: Timestamp,
    logical_resource_id: String,
    resource_status: String,
    resource_status_reason: Option<String>,
    client_request_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiActivity {
    start_time: Timestamp,
    end_time: Option<Timestamp>,
    description: String,
    cause: String,
    status_code: String,
    status_message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    #[serde(rename = "at")]
    at: Timestamp,
    target_health_descriptions: Vec<Json>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiRefresh {
    start_time: Timestamp,
    end_time: Option<Timestamp>,
    status: String,
    status_reason: Option<String>,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    deployment: Option<u64>,
    content: Json,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiConsole {
    instance_id: String,
    output: String,
}

impl Stream {
    fn happened(&self) -> Happened {
        let event = |one: &StackEvent| Event {
            at: one.timestamp,
            resource: one.logical_resource_id.clone(),
            status: one.resource_status.clone(),
            reason: one.resource_status_reason.clone(),
            token: one.client_request_token.clone(),
        };
        let activity = |one: &ApiActivity| Activity {
            begun: one.start_time,
            ended: one.end_time,
            description: one.description.clone(),
            cause: one.cause.clone(),
            is_failed: ["Failed", "Cancelled"].contains(&one.status_code.as_str()),
            message: one.status_message.clone(),
        };
        let text = |json: &Json| json.as_str().map(str::to_owned);
        let health = |asked: &Asked| {
            let one = |json: &Json| Checked {
                at: asked.at,
                instance: text(&json["Target"]["Id"]).unwrap(),
                state: text(&json["TargetHealth"]["State"]).unwrap(),
                why: text(&json["TargetHealth"]["Description"]),
            };
            asked.target_health_descriptions.iter().map(one).collect::<Vec<_>>()
        };
        let console = |one: &ApiConsole| Some(Console { instance: one.instance_id.clone(), line: line_of(&one.output)? });
        Happened {
            events: self.events.iter().rev().map(event).collect(),
            evidence: self.evidence.iter().filter_map(Object::evidence).collect(),
            activities: self.activities.iter().rev().map(activity).collect(),
            health: self.health.iter().flat_map(health).collect(),
            refreshes: self
                .refreshes
                .iter()
                .map(|one| Refresh {
                    at: one.start_time,
                    ended: one.end_time,
                    status: one.status.clone(),
                    reason: one.status_reason.clone(),
                })
                .collect(),
            consoles: self.consoles.iter().filter_map(console).collect(),
        }
    }
}

impl Object {
    fn evidence(&self) -> Option<Evidence> {
        let packed = zstd::encode_all(self.content.to_string().as_bytes(), 0).unwrap();
        let (key, content) = (Key::read(&self.key).unwrap(), Content::read(&packed).unwrap());
        let found = Evidence::of(&key, &content, format!("s3://shop-evidence/{}", self.key))?;
        Some(Evidence { deployment: self.deployment, ..found })
    }
}

fn streams() -> Vec<(String, Stream)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fleet/streams");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let stream = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, stream)
    };
    paths.iter().map(read).collect()
}

#[test]
fn each_stream_ends_in_its_sentence() {
    let streams = streams();
    assert!(streams.len() >= 30, "{} streams", streams.len());
    let mut wrong = String::new();
    for (name, stream) in &streams {
        let happened = stream.happened();
        let Of { number, began, ref tokens } = stream.deployment;
        let of = Deployment { number, began, tokens: tokens.clone() };
        let story: Vec<String> = tale(&happened, &stream.stack).into_iter().map(|line| line.said).collect();
        let is_good = story.last().is_some_and(|last| ["the stack is updated", "the stack is created"].contains(&last.as_str()));
        let cause = if is_good { cause(&happened, &of) } else { Some(cause_of_failure(&happened, &of)) };
        let end = cause.as_ref().map_or_else(|| story.last().cloned().unwrap(), |cause| cause.sentence().to_owned());
        let mut rest = story.iter();
        let missing: Vec<_> = stream.tells.iter().filter(|told| !rest.by_ref().any(|said| said == *told)).collect();
        let is_aborted = matches!(cause, Some(Cause::Aborted(_)));
        if end != stream.ends || !missing.is_empty() || is_aborted != stream.is_aborted {
            let story = story.join("\n    ");
            wrong += &format!("{name}:\n  ends {end}\n  not {}\n  missing {missing:#?}\n    {story}\n", stream.ends);
        }
        assert!(!stream.about.is_empty() && !stream.source.is_empty(), "{name} does not say what it is, and where it is from");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The story avoids CloudFormation's jargon.
#[test]
fn no_story_contains_jargon_of_cloudformation() {
    for (name, stream) in streams() {
        for line in tale(&stream.happened(), &stream.stack) {
            for word in ["_FAILED", "_IN_PROGRESS", "_COMPLETE", "MinSuccessful", "RequestToken", "signal(s)", "UniqueId"] {
                assert!(!line.said.contains(word), "{name}: {}", line.said);
            }
        }
    }
}
