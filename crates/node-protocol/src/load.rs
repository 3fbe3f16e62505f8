//! Resource usage of a node: the body of `POST /carrier/{run}/load`. 100 percent of a container is one CPU.

use serde::{Deserialize, Serialize};

/// CPU usage of a node, and resource usage of the run's containers on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Time of the sample by the node's clock, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub at: i64,
    /// Number of CPUs.
    pub cpus: u32,
    /// Usage of all CPUs together, from 0 to 100.
    pub node_percent: f64,
    /// Containers of the run, of the roles in the order.
    pub containers: Vec<ContainerLoad>,
}

/// Resource usage of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerLoad {
    /// Docker's container id.
    #[serde(default)]
    pub id: String,
    /// For example `worker.3`. The number of an attempt of the wait command is unknown to the carrier.
    pub source: String,
    /// Usage in percent of one CPU; more than 100 with several CPUs in use.
    pub percent: f64,
    /// Memory, network and block I/O; carriers of earlier versions do not report them.
    #[serde(flatten)]
    pub usage: ResourceUsage,
}

/// Memory, network and block I/O of a container at one moment, in bytes. What is not known is absent. All but memory counts
/// since the start of the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceUsage {
    /// Used memory, without page cache that can be dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Memory limit; that of the node without a limit of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// Received from the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// Sent to the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// Read from block devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Written to block devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The report as versions without memory, network and block I/O declare it.
    #[derive(Debug, PartialEq, Deserialize)]
    struct EarlierContainer {
        id: String,
        source: String,
        percent: f64,
    }

    #[test]
    fn a_report_of_an_earlier_carrier_has_no_resource_usage() {
        let text = json!({ "at": 1, "cpus": 4, "nodePercent": 50.0,
            "containers": [{ "id": "c", "source": "worker.1", "percent": 12.5 }] });
        let load: Load = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(load.containers[0].usage, ResourceUsage::default());
        assert_eq!(serde_json::to_value(load).unwrap(), text);
    }

    #[test]
    fn an_earlier_director_ignores_the_resource_usage() {
        let container = ContainerLoad {
            id: "c".to_owned(),
            source: "worker.1".to_owned(),
            percent: 12.5,
            usage: ResourceUsage {
                memory: Some(1 << 30),
                memory_limit: Some(2 << 30),
                received: Some(1),
                sent: None,
                read: Some(3),
                written: Some(4),
            },
        };
        let text = serde_json::to_value(&container).unwrap();
        assert_eq!(
            text,
            json!({ "id": "c", "source": "worker.1", "percent": 12.5, "memory": 1u64 << 30,
                "memoryLimit": 2u64 << 30, "received": 1, "read": 3, "written": 4 })
        );
        let read: EarlierContainer = serde_json::from_value(text.clone()).unwrap();
        assert_eq!((read.source.as_str(), read.percent), ("worker.1", 12.5));
        assert_eq!(
            serde_json::from_value::<ContainerLoad>(text).unwrap(),
            container
        );
    }
}
