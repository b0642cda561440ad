//! What a service may reach: by default nothing.

/// What a service may reach.
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    /// The environment that guests see, and all of it.
    pub environment: Vec<(String, String)>,
}
