/**
 * Names of K in the language that a printer writes: always the same for one name, and different ones for different names.
 *
 *   const id = identifiers((id) => (keywords.has(id) ? `v_${id}` : id), '_');   id('for') -> 'v_for', id('a.b') -> 'a_b', id('a_b') -> 'a_b_'
 */

/** `legal` turns what the language or the printer keeps for itself into something else; `more` is added to a name that another one has taken. */
export const identifiers = (legal: (id: string) => string, more: string): ((name: string) => string) => {
  const known = new Map<string, string>();
  const taken = new Set<string>();
  return (name) => {
    const old = known.get(name);
    if (old !== undefined) return old;
    const plain = name.replace(/[^A-Za-z0-9_]/g, '_');
    let id = legal(/^[A-Za-z]/.test(plain) ? plain : `v_${plain}`);
    while (taken.has(id)) id += more;
    taken.add(id);
    known.set(name, id);
    return id;
  };
};
