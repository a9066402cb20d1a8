// Draws the charts and names the languages; the browser knows their English names.
const names = new Intl.DisplayNames(["en"], { type: "language" });

function languageName(code) {
  try {
    return names.of(code.replaceAll("_", "-"));
  } catch {
    return code; // no well-formed language tag
  }
}

function languageLabel(code) {
  const name = languageName(code);
  return name === code ? code : `${name} ${code}`;
}

for (const element of document.querySelectorAll("[data-language]")) {
  element.textContent = languageName(element.dataset.language);
}

// Not "height = width": the axes take their share of the width, and would change with the height.
function asHighAsItsPlace(specification) {
  const width = specification.signals.find((signal) => signal.name === "width");
  specification.signals.push({ ...width, name: "height" });
  delete specification.height;
  return specification;
}

const font = getComputedStyle(document.body).fontFamily;
const charts = JSON.parse(document.getElementById("charts").textContent);
for (const [id, { spec, square }] of Object.entries(charts)) {
  vegaEmbed(`#${id}`, spec, {
    renderer: "svg",
    actions: false,
    defaultStyle: false,
    config: { font },
    expressionFunctions: { languageName, languageLabel },
    tooltip: { disableDefaultStyle: true },
    patch: square ? asHighAsItsPlace : (specification) => specification,
  });
}
