//! Appended bytes of result files. Bodies of one node are processed one after the other, and a later body replaces one that is
//! not received completely: a carrier sends it again after a timeout. So at most two bodies of a node are in memory.

use super::{MAX_REASON, RequestError};
use atq_engine::{Append, Appended, ReadProblem, Renames, ResultsSink, Source, UpToDate};
use atq_node_protocol::tail::{self, Answer, Decoded, Outcome, SourceProblem};
use atq_task::spec::shorten;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A run whose result files are followed.
pub(crate) struct FollowedRun {
    sink: Arc<dyn ResultsSink>,
    /// The containers and their nodes, according to Swarm.
    placed: HashSet<(Source, String)>,
    turns: HashMap<String, NodeTurns>,
    /// Identifies it: a carrier must not rely on the answers of an earlier one.
    instance: String,
}

/// The requests of a node.
#[derive(Default)]
struct NodeTurns {
    /// Locked by the request that is processed.
    processed: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled by a later request.
    latest: Mutex<CancellationToken>,
}

/// A request with appended bytes.
pub(crate) struct TailTurn {
    followed: Arc<FollowedRun>,
    node: String,
    processed: Arc<tokio::sync::Mutex<()>>,
    replaced: CancellationToken,
}

impl FollowedRun {
    /// A run with these containers on these nodes.
    pub(crate) fn new(sink: Arc<dyn ResultsSink>, placed: HashSet<(Source, String)>) -> Self {
        let nodes = placed.iter().map(|(_, node)| node.clone());
        let turns = nodes.map(|node| (node, NodeTurns::default())).collect();
        Self {
            sink,
            placed,
            turns,
            instance: Uuid::new_v4().simple().to_string(),
        }
    }

    /// Begins a request of a node.
    pub(super) fn begin(self: Arc<Self>, node: &str) -> Result<TailTurn, RequestError> {
        let turns = self
            .turns
            .get(node)
            .ok_or_else(|| RequestError::NotOnNode {
                container: "any container".to_owned(),
                node: node.to_owned(),
            })?;
        let replaced = CancellationToken::new();
        let earlier = std::mem::replace(&mut *turns.latest.lock(), replaced.clone());
        earlier.cancel();
        Ok(TailTurn {
            node: node.to_owned(),
            processed: Arc::clone(&turns.processed),
            replaced,
            followed: self,
        })
    }

    /// The containers with these names, which must be on the node.
    fn sources<'a>(
        &self,
        node: &str,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<Source>, RequestError> {
        let source = |name: &str| {
            let source = Source::parse(name);
            let source = source.filter(|one| self.placed.contains(&(*one, node.to_owned())));
            source.ok_or_else(|| RequestError::NotOnNode {
                container: shorten(name),
                node: node.to_owned(),
            })
        };
        names.map(source).collect()
    }
}

impl TailTurn {
    /// Awaits a part of the request, unless a later request replaces it.
    pub(crate) async fn unless_replaced<T>(
        &self,
        part: impl Future<Output = T>,
    ) -> Result<T, RequestError> {
        tokio::select! {
            biased;
            () = self.replaced.cancelled() => Err(RequestError::Replaced(self.node.clone())),
            done = part => Ok(done),
        }
    }

    /// Passes the bytes on, once the request before is processed.
    ///
    /// # Errors
    /// [`RequestError`] when the body is invalid, or has bytes of containers on other nodes. Nothing was passed on then.
    pub(crate) async fn receive(self, body: Bytes) -> Result<Answer, RequestError> {
        let _processed = self.unless_replaced(self.processed.lock()).await?;
        let invalid = |fault: tail::Invalid| RequestError::Invalid(fault.to_string());
        let Decoded { header, ranges } = tail::decode(&body).map_err(invalid)?;
        let (followed, node) = (&self.followed, &self.node);
        let sources = followed.sources(node, header.parts.iter().map(|one| one.source.as_str()))?;
        let complete = followed.sources(node, header.up_to_date.iter().map(String::as_str))?;
        let names = header.problems.iter().map(|one| one.source.as_str());
        let with_problem = followed.sources(node, names)?;
        let renamed = header.renames.iter().map(|one| one.source.as_str());
        let renamed = followed.sources(node, renamed)?;

        let sink = &*followed.sink;
        let renames = renamed.first().copied().zip(header.renames);
        let is_renamed = match renames {
            Some((source, renames)) => rename(sink, source, renames).await,
            None => false,
        };
        let mut parts = Vec::with_capacity(sources.len());
        let mut incomplete = BTreeSet::new();
        for ((part, range), source) in header.parts.into_iter().zip(ranges).zip(sources) {
            let appended = Appended {
                source,
                path: part.path,
                generation: part.generation,
                offset: part.offset,
                bytes: body.slice(range),
            };
            let outcome = outcome(sink, appended).await;
            if matches!(outcome, Outcome::ResumeAt { .. } | Outcome::NotStored) {
                incomplete.insert(source);
            }
            parts.push(outcome);
        }
        let mut complete = complete;
        complete.retain(|source| !incomplete.contains(source));
        if header
            .instance
            .is_some_and(|known| known != followed.instance)
        {
            // An earlier instance may have refused files that this one accepts, or knows nothing of.
            complete.clear();
        }
        let problems = with_problem.into_iter().zip(header.problems).collect();
        report(sink, complete, problems);
        Ok(Answer {
            parts,
            renamed: is_renamed,
            instance: Some(followed.instance.clone()),
        })
    }
}

/// Reports the containers of which everything is stored, and the problems of all.
fn report(
    sink: &dyn ResultsSink,
    complete: Vec<Source>,
    mut problems: BTreeMap<Source, SourceProblem>,
) {
    let shorten = |problem: String| problem.chars().take(MAX_REASON).collect();
    // A problem and the end of earlier ones are one step: between two, there would be no doubt.
    let up_to_date = complete.into_iter().map(|source| UpToDate {
        source,
        incomplete: problems.remove(&source).map(|told| shorten(told.problem)),
    });
    let up_to_date: Vec<UpToDate> = up_to_date.collect();
    if !up_to_date.is_empty() {
        sink.up_to_date(&up_to_date);
    }
    for (source, told) in problems {
        let problem = shorten(told.problem);
        let problem = match told.is_unread {
            true => ReadProblem::Unread(problem),
            false => ReadProblem::Incomplete(problem),
        };
        sink.problem(&[source], problem);
    }
}

/// Renames files; returns whether this is stored.
async fn rename(sink: &dyn ResultsSink, source: Source, renames: tail::Renames) -> bool {
    let paths = renames.paths.into_iter();
    let renames = Renames {
        source,
        id: renames.id,
        paths: paths.map(|one| (one.from, one.to)).collect(),
    };
    let renamed = sink.rename(renames).await;
    let problem = |reason| format!("its files cannot be renamed: {reason}");
    let renamed = renamed.map_err(|reason| ReadProblem::Unread(problem(reason)));
    renamed
        .map_err(|problem| sink.problem(&[source], problem))
        .is_ok()
}

async fn outcome(sink: &dyn ResultsSink, appended: Appended) -> Outcome {
    let source = appended.source;
    match sink.append(appended).await {
        Ok(Append::Accepted) => Outcome::Accepted,
        Ok(Append::ResumeAt(received)) => Outcome::ResumeAt {
            generation: received.generation,
            bytes: received.bytes,
        },
        Ok(Append::Ignored) => Outcome::Ignored,
        Err(reason) => {
            let problem = format!("its files cannot be stored: {reason}");
            sink.problem(&[source], ReadProblem::Unread(problem));
            Outcome::NotStored
        }
    }
}

#[cfg(test)]
mod tests;
