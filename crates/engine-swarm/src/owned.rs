//! Lists everything that Directors have created in Docker, by its labels.

use crate::core::Core;
use crate::error::SwarmError;
use crate::plan::volumes::LABEL_BUNDLE;
use crate::plan::{LABEL_DIRECTOR, LABEL_PLACE, LABEL_RUN, LABEL_TASK};
use crate::port::{Kind, Object};
use atq_engine::Owned;
use std::collections::BTreeSet;

/// All objects except the volumes of bundles, which outlive every run and are removed with their bundle.
pub(crate) async fn list(core: &Core) -> Result<Vec<Owned>, SwarmError> {
    let objects = core.swarm.labelled(LABEL_DIRECTOR).await?;
    let of_bundle =
        |object: &Object| object.kind == Kind::Volume && object.labels.contains_key(LABEL_BUNDLE);
    let owned = objects.into_iter().filter(|object| !of_bundle(object));
    Ok(owned.map(|object| of(core, object)).collect())
}

fn of(core: &Core, object: Object) -> Owned {
    let label = |key| object.labels.get(key).cloned();
    Owned {
        kind: object.kind.as_str(),
        director: label(LABEL_DIRECTOR).unwrap_or_default(),
        is_here: label(LABEL_PLACE).as_ref() == Some(&core.settings.place),
        run: label(LABEL_TASK).zip(label(LABEL_RUN)),
        name: object.name,
    }
}

/// Commands that remove the objects, in the order that does not leak addresses. Containers of a service are removed
/// with it.
pub(crate) fn removal_commands(owned: &[(&'static str, String)]) -> String {
    let of_kind = |wanted: Kind| -> BTreeSet<&str> {
        let all = owned.iter().filter(|(kind, _)| *kind == wanted.as_str());
        all.map(|(_, name)| name.as_str()).collect()
    };
    let services = of_kind(Kind::Service);
    let containers = match services.is_empty() {
        true => of_kind(Kind::Container),
        false => BTreeSet::new(),
    };
    let commands: Vec<String> = [
        ("docker service rm", services),
        ("docker rm -f", containers),
        ("docker network rm", of_kind(Kind::Network)),
        ("docker volume rm", of_kind(Kind::Volume)),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(command, names)| {
        let names: Vec<_> = names.into_iter().collect();
        format!("`{command} {}`", names.join(" "))
    })
    .collect();
    commands.join(", then, once their containers are gone, ")
}
