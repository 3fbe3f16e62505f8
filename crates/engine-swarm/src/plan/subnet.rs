//! Selection of the subnet for the network of a run.

use ipnet::Ipv4Net;

/// The prefix of the smallest network, /24 or larger, with room for `replicas` addresses and the additional ones that
/// Swarm needs: the gateway, one for each node, the sidecar, the wait command (ARCHITECTURE.md, How Docker Swarm
/// behaves).
pub fn prefix_for(replicas: u32, nodes: u32) -> u8 {
    let needed = u64::from(replicas) + u64::from(nodes) * 2 + 16;
    (8..=24)
        .rev()
        .find(|prefix| (1u64 << (32 - prefix)) > needed)
        .unwrap_or(8)
}

/// The first network of `pool` with this prefix that overlaps with none of `taken`. The search starts at the
/// `skip`-th network and wraps around, so that tasks which start concurrently try different networks. `None` when
/// there is none, or when the pool is smaller than such a network.
pub fn free_subnet(pool: Ipv4Net, prefix: u8, taken: &[Ipv4Net], skip: usize) -> Option<Ipv4Net> {
    let overlaps = |net: &Ipv4Net| {
        taken
            .iter()
            .any(|other| net.contains(&other.network()) || other.contains(&net.network()))
    };
    if prefix < pool.prefix_len() {
        return None;
    }
    let count = 1usize << (prefix - pool.prefix_len()).min(20);
    let skip = skip % count;
    let from_skip = pool.subnets(prefix).ok()?.skip(skip);
    let around = pool.subnets(prefix).ok()?.take(skip);
    from_skip.chain(around).find(|net| !overlaps(net))
}
