/** What a device offers beyond what all devices have, as far as the text of a kernel depends on it: plain data, so that it can be asked for. */
export interface Dialect {
  /** Numbers of the type f16, in memory and in registers, whose casts round as casts of K do. */
  readonly f16: boolean;
}

/** What every device has. */
export const plain: Dialect = { f16: false };
