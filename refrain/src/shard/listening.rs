//! Where this node listens for clients of its services. An address or a path that is taken keeps no node from running:
//! it is tried again until it is free, and status says why it is not listened there.

use std::io;
use std::rc::Weak;
use std::sync::Arc;
use std::time::Duration;

use refrain_service::Protocol;
use refrain_wire::GroupId;

use super::Inner;
use super::group::{Group, Listening};
use super::start::Served;
use crate::config::{Endpoint, ListenAt};
use crate::service::ServedPort;

/// How long after a failed try to listen the next one is made: twice as long each time, up to the second.
const RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(30);

impl Inner {
    /// Listens for clients of a group, wherever it can; where it cannot now, as soon as it can.
    pub(super) fn listen(&self, id: GroupId) {
        if !self.config.cluster.roles.proxy {
            return;
        }
        let service = Arc::clone(&self.groups.borrow()[&id].service);
        for port in &service.ports {
            for wanted in self.wanted_endpoints(&service.name, port) {
                let at = self.listen_at(id, port, &wanted).map_err(|error| {
                    let (service, port) = (&service.full_name, &port.name);
                    tracing::error!(service, port, at = %wanted, %error, "cannot listen; it is tried again");
                    why_not(&wanted, port, &error)
                });
                let (name, proxies) = (port.name.clone(), port.options.proxy_protocol_from.clone());
                if let Some(group) = self.groups.borrow_mut().get_mut(&id) {
                    group.listeners.push(Listening { port: name, wanted, at, proxies });
                }
            }
        }
        if self.groups.borrow()[&id].not_listened().is_some() {
            tokio::task::spawn_local(listen_at_last(self.me.clone(), id));
        }
    }

    /// Tries again where a group is not listened for; whether that is nowhere any more.
    fn listen_again(&self, id: GroupId) -> bool {
        let Some(service) = self.groups.borrow().get(&id).map(|group| Arc::clone(&group.service)) else { return true };
        let missing: Vec<(usize, String, Endpoint)> = {
            let groups = self.groups.borrow();
            let all = groups[&id].listeners.iter().enumerate().filter(|(_, listening)| listening.at.is_err());
            all.map(|(index, listening)| (index, listening.port.clone(), listening.wanted.clone())).collect()
        };
        let mut all = true;
        for (index, name, wanted) in missing {
            let Some(port) = service.ports.iter().find(|port| port.name == name) else { continue };
            let at = self.listen_at(id, port, &wanted).map_err(|error| why_not(&wanted, &name, &error));
            match &at {
                Ok(at) => tracing::info!(service = service.full_name, port = name, %at, "listens now"),
                Err(_) => all = false,
            }
            if let Some(group) = self.groups.borrow_mut().get_mut(&id) {
                group.listeners[index].at = at;
            }
        }
        if all {
            self.look_at_readiness(id);
            self.after_reports();
        }
        all
    }

    /// Has the proxy listen for a port somewhere; where it does.
    fn listen_at(&self, id: GroupId, port: &ServedPort, wanted: &Endpoint) -> io::Result<Endpoint> {
        let (front, options) = (self.front(), &port.options);
        match wanted {
            Endpoint::Address(address) => match port.protocol {
                Protocol::Tcp => front.listen(*address, id, port.guest, options),
                Protocol::Udp => front.listen_udp(*address, id, port.guest, options),
            }
            .map(Endpoint::Address),
            Endpoint::Path(path) => front.listen_unix(path, id, port.guest, options).map(|()| wanted.clone()),
        }
    }

    /// Where a port is to listen: what this node's configuration has for it takes the place of the manifest's, addresses
    /// that of addresses and a path that of the path.
    fn wanted_endpoints(&self, service: &str, port: &ServedPort) -> Vec<Endpoint> {
        let here = self.config.listen.iter().filter(|at| at.service == service && at.port == port.name);
        let mut wanted: Vec<Endpoint> = here.map(|at| at.address.clone()).collect();
        let has = |is_path: bool| wanted.iter().any(|at| matches!(at, Endpoint::Path(_)) == is_path);
        let (addresses, path) = (!has(false), !has(true));
        wanted.extend(port.listen.iter().filter(|_| addresses).map(|address| Endpoint::Address(*address)));
        wanted.extend(port.unix.iter().filter(|_| path).cloned().map(Endpoint::Path));
        wanted
    }

    /// Where this node listens for clients, or is to, as configuration that takes the place of what manifests say.
    pub(super) fn listens(&self) -> Vec<ListenAt> {
        let groups = self.groups.borrow();
        let mut listens = self.config.listen.clone();
        for group in groups.values() {
            for port in &group.service.ports {
                let (service, port) = (group.service.name.clone(), port.name.clone());
                let of_port = group.listeners.iter().filter(|listening| listening.port == port);
                let places: Vec<Endpoint> = of_port
                    .map(|listening| listening.at.clone().unwrap_or_else(|_| listening.wanted.clone()))
                    .collect();
                if places.is_empty() {
                    continue;
                }
                listens.retain(|known| known.service != service || known.port != port);
                let at = |address| ListenAt { service: service.clone(), port: port.clone(), address };
                listens.extend(places.into_iter().map(at));
            }
        }
        listens
    }

    /// What this node serves, and where, in no particular order.
    pub(super) fn served(&self) -> Vec<Served> {
        let groups = self.groups.borrow();
        let of_group = |group: &Group| -> Vec<Served> {
            let served = group.listeners.iter().map(|listening| Served {
                manifest: Arc::clone(group.served_manifest()),
                port: listening.port.clone(),
                seats: group.seats.len() as u8,
                at: listening.at.clone(),
            });
            served.collect()
        };
        groups.values().flat_map(of_group).collect()
    }
}

fn why_not(wanted: &Endpoint, port: &str, error: &io::Error) -> String {
    format!("cannot listen on {wanted} for port {port:?}: {error}")
}

/// Tries until a group is listened for wherever it should be, or the node ends.
async fn listen_at_last(inner: Weak<Inner>, id: GroupId) {
    let mut pause = RETRY;
    loop {
        tokio::time::sleep(pause).await;
        pause = MAX_RETRY.min(pause * 2);
        let Some(inner) = inner.upgrade().filter(|inner| !inner.draining.get()) else { return };
        if inner.listen_again(id) {
            return;
        }
    }
}
