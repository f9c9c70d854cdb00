//! All values of a metric at one moment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metric::{Kind, Metric};

/// All values of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// What it tells.
    pub help: String,
    /// What kind it is.
    pub kind: Kind,
    /// Its values.
    pub samples: Vec<Sample>,
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The metric's name, with `_sum` or `_count` behind it where a summary has these.
    pub name: String,
    /// What it is of.
    pub labels: BTreeMap<String, String>,
    /// How much or many; none for what is not a number.
    pub value: Option<f64>,
}

impl Family {
    /// A metric without values.
    pub fn empty(metric: &Metric) -> Self {
        Self { name: metric.name.to_owned(), help: metric.help.to_owned(), kind: metric.kind, samples: Vec::new() }
    }

    /// Puts the values in order: a summary's parts stay together, and its quantiles go up.
    pub fn sort(&mut self) {
        self.samples.sort_by_cached_key(|sample| {
            let mut labels = sample.labels.clone();
            let quantile = labels.remove("quantile");
            (labels, quantile.is_none(), quantile, sample.name.clone())
        });
    }
}
