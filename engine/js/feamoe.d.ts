/** What is wrong, in a sentence: a file that is no model, a record that does not fit it. */
export class FeamoeError extends Error {}

/** A number of a model. */
export interface NumberFeature {
    readonly name: string;
    readonly kind: "number";
    /** Lowest and highest number of the training rows; others are clamped to them. */
    readonly low: number;
    readonly high: number;
}

/** A category of a model. */
export interface CategoryFeature {
    readonly name: string;
    readonly kind: "category";
    /** Levels in the order of their codes; any other level is unseen. */
    readonly levels: readonly string[];
}

export type Feature = NumberFeature | CategoryFeature;

/**
 * Values by the names of features. `null`, `undefined`, NaN and, where no level is called that,
 * `""` are a missing value; a feature whose name is absent is an error. A category takes its level
 * as text; a number or a boolean stands for its shortest text. Other properties are ignored.
 *
 * Text is taken as it is: blanks around a level, or a word of the data for "not known" such as "?",
 * which the schema's `table.missing` lists, are for the caller to take away.
 */
export type FeatureRecord = object;

export interface Score {
    /** The score, in [0, 1]: an f32. Of integer weights the 24 highest bits. */
    probability: number;
    /** Whether it reaches the threshold. */
    decision: boolean;
    /** Whether some value was missing. */
    missing: boolean;
    /** Whether some number was clamped to the training range. */
    clamped: boolean;
    /** Whether some level was not seen in training. */
    unseen: boolean;
}

/** Why a record got its score: `baseValue` + the sum of `values` + `residual` = `output`. */
export interface Explanation {
    method: "path" | "exact" | "frozen";
    space: "probability" | "log-odds";
    score: Score;
    /** The output of the mean record, or the mean output of the background records. */
    baseValue: number;
    output: number;
    residual: number;
    /**
     * Share of the attribution along the mean record's path that runs through the gate; NaN for
     * frozen.
     */
    gateShare: number;
    /** One of each feature, in their order. */
    values: number[];
}

/** What may be done with a feature. Of a category only `cost` counts, and whether it is fixed. */
export interface Rule {
    /** Default: "any". */
    direction?: "any" | "increase" | "decrease" | "fixed";
    /** Lowest and highest number proposed. Default: those of the training range. */
    low?: number;
    high?: number;
    /** Numbers proposed are multiples of it. Default: 0, for any number. */
    step?: number;
    /** By how much its part of the distance is multiplied, 0.001 to 1000. Default: 1. */
    cost?: number;
}

export interface ExactOptions {
    /** Records to explain against, 1000 at most. Default: those that the model carries. */
    background?: readonly FeatureRecord[];
    /** How many of them, the first ones. Default: all, 1000 at most. */
    rows?: number;
    /** What is divided. Default: "probability". */
    space?: "probability" | "log-odds";
}

export interface RecourseOptions {
    /** By the names of features. Default: every feature is free. */
    rules?: { readonly [feature: string]: Rule };
    /** Most features that are changed. Default: 3. */
    maxChanges?: number;
    /** By how much the new score passes the threshold, from 0 and below 1. Default: 0.05. */
    margin?: number;
}

export interface Recourse {
    /** How far it is, in standard deviations of the training rows, costs included. */
    distance: number;
    /** The score after the changes. */
    probability: number;
    /** New values by the names of features; none where the record is favourable as it is. */
    changes: { [feature: string]: number | string };
}

/**
 * A loaded model. Its memory goes when nothing refers to it any more; `free` lets go of it at once.
 * Every function throws a `FeamoeError` that says what is wrong.
 */
export class Model {
    private constructor();
    readonly features: readonly Feature[];
    /** The favourable outcome; "" where the file has no names. */
    readonly outcome: string;
    /** A record is decided favourably when its probability is not below. */
    readonly threshold: number;
    readonly experts: number;
    /** CRC-32 of the file in hexadecimal, which names the model. */
    readonly checksum: string;
    /** Whether the weights are integers: such a model has scores and frozen explanations. */
    readonly integer: boolean;
    /** Background records that the model carries. */
    readonly backgroundRows: number;

    /** Scores a record. `gate`: the weights of the experts, which sum to 1. */
    score(record: FeatureRecord): Score & { gate: number[] };
    /**
     * Returns the calibrated probability of the favourable outcome, where the model has one beside
     * its score; else the score.
     */
    calibrated(record: FeatureRecord): number;
    /** Explains with the gate held fixed (FEAMOE, Theorem 1), in log-odds: no Shapley values. */
    frozen(record: FeatureRecord): Explanation;
    /** Explains along the path from the mean record, gate included, in probability. */
    path(record: FeatureRecord): Explanation;
    /**
     * Explains by the exact Shapley values against background records. Takes up to 2^d evaluations
     * for each, where d features differ from it, 32 at most.
     */
    exact(record: FeatureRecord, options?: ExactOptions): Explanation;
    /**
     * Finds the nearest favourable record that the rules allow; null if there is none. Where
     * more than `maxChanges` features would change, one search for each of them: with 40 features
     * that takes seconds.
     */
    recourse(record: FeatureRecord, options?: RecourseOptions): Recourse | null;
    /** Lets go of the memory; nothing but this may be called afterwards. */
    free(): void;
}

/**
 * Loads a model file, float or integer.
 *
 * @param blob The bytes of the file.
 * @param wasm The module, compiled or its bytes; by default `feamoe.wasm` beside this file.
 */
export function load(
    blob: ArrayBuffer | Uint8Array,
    wasm?: WebAssembly.Module | ArrayBuffer | Uint8Array,
): Promise<Model>;
