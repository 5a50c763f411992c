//! placeholder until the matcher lands
use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::app::Route;

#[derive(Debug, Default)]
pub struct Routes {
    pub exact: HashMap<String, Arc<Route>>,
}

impl Routes {
    pub fn find(&self, _group: &str, _topic: &str, command: &str) -> Option<&Arc<Route>> {
        self.exact.get(command)
    }

    pub fn commands_of(&self, app: &str) -> Vec<String> {
        self.exact.iter().filter(|(_, it)| &*it.app.name == app).map(|(it, _)| it.clone()).collect()
    }
}
