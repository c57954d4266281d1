//! Builds a graph: operations one after the other, each with a name for its output.

use std::collections::BTreeSet;

use super::proto::{
    AttributeProto, Dimension, Extent, FLOAT, GraphProto, INT64, NodeProto, TensorProto, TensorShapeProto, TensorType,
    TypeProto, ValueInfoProto,
};

/// The name of the dimension that counts records.
const RECORDS: &str = "records";

/// The name of a tensor.
pub type Name = String;

/// A graph under construction.
#[derive(Default)]
pub struct Graph {
    graph: GraphProto,
    /// Names of inputs and outputs.
    taken: BTreeSet<Name>,
    made: usize,
}

impl Graph {
    /// Adds an input with one value per record.
    pub fn input(&mut self, name: &str, elem_type: i32, words: String) {
        self.taken.insert(name.to_owned());
        self.graph.input.push(info(name, elem_type, &[1], words));
    }

    /// Returns the name of an output: the one asked for, with `_` appended until it is free.
    pub fn free(&self, asked: &str) -> Name {
        let mut name = asked.to_owned();
        while self.taken.contains(&name) {
            name.push('_');
        }
        name
    }

    /// Adds an output of a tensor: one number per record, or `width` numbers.
    pub fn output(&mut self, asked: &str, of: &str, elem_type: i32, width: Option<usize>, words: &str) {
        let name = self.free(asked);
        self.taken.insert(name.clone());
        self.graph.node.push(node("Identity", &[of], &name, Vec::new()));
        let width: Vec<i64> = width.iter().map(|width| *width as i64).collect();
        self.graph.output.push(info(&name, elem_type, &width, words.to_owned()));
    }

    /// Adds numbers as a constant of these extents.
    pub fn floats(&mut self, dims: &[usize], values: &[f32]) -> Name {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(dims, FLOAT, raw_data)
    }

    /// Adds one number as a constant.
    pub fn float(&mut self, value: f32) -> Name {
        self.floats(&[], &[value])
    }

    /// Adds integers as a constant of these extents.
    pub fn integers(&mut self, dims: &[usize], values: &[i64]) -> Name {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(dims, INT64, raw_data)
    }

    fn constant(&mut self, dims: &[usize], data_type: i32, raw_data: Vec<u8>) -> Name {
        let name = self.next();
        let dims = dims.iter().map(|extent| *extent as i64).collect();
        self.graph.initializer.push(TensorProto { dims, data_type, name: name.clone(), raw_data });
        name
    }

    /// Adds an operation. Returns its output.
    pub fn op(&mut self, op_type: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> Name {
        let name = self.next();
        self.graph.node.push(node(op_type, inputs, &name, attributes));
        name
    }

    /// Adds a look-up of texts. Texts that are not listed get `default`.
    pub fn look_up(&mut self, input: &str, keys: Vec<Vec<u8>>, values: Vec<i64>, default: i64) -> Name {
        let attributes = vec![
            AttributeProto::strings("keys_strings", keys),
            AttributeProto::ints("values_int64s", values),
            AttributeProto::int("default_int64", default),
        ];
        let name = self.op("LabelEncoder", &[input], attributes);
        if let Some(node) = self.graph.node.last_mut() {
            node.domain = "ai.onnx.ml".to_owned();
        }
        name
    }

    /// Sums over an axis, which the result no longer has.
    pub fn sum(&mut self, input: &str, axis: i64) -> Name {
        let axes = self.integers(&[1], &[axis]);
        self.op("ReduceSum", &[input, &axes], vec![AttributeProto::int("keepdims", 0)])
    }

    /// Takes the positions `from..to` of an axis.
    pub fn slice(&mut self, input: &str, axis: i64, [from, to]: [usize; 2]) -> Name {
        let [from, to, axes] = [from as i64, to as i64, axis].map(|value| self.integers(&[1], &[value]));
        self.op("Slice", &[input, &from, &to, &axes], Vec::new())
    }

    /// Puts columns side by side.
    pub fn concat(&mut self, columns: &[Name]) -> Name {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        self.op("Concat", &columns, vec![AttributeProto::int("axis", 1)])
    }

    /// Returns the graph.
    pub fn finish(self, name: &str) -> GraphProto {
        GraphProto { name: name.to_owned(), ..self.graph }
    }

    /// Returns an unused name. The names of features are known before any other name is made.
    fn next(&mut self) -> Name {
        loop {
            self.made += 1;
            let name = format!("t{}", self.made);
            if !self.taken.contains(&name) {
                return name;
            }
        }
    }
}

fn node(op_type: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        op_type: op_type.to_owned(),
        attribute,
        domain: String::new(),
    }
}

fn info(name: &str, elem_type: i32, width: &[i64], doc_string: String) -> ValueInfoProto {
    let records = Dimension { value: Some(Extent::Named(RECORDS.to_owned())) };
    let fixed = width.iter().map(|extent| Dimension { value: Some(Extent::Fixed(*extent)) });
    let shape = Some(TensorShapeProto { dim: [records].into_iter().chain(fixed).collect() });
    let tensor_type = Some(TensorType { elem_type, shape });
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type }), doc_string }
}
