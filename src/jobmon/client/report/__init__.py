"""What is made of all attempts of a workflow: a table (``trace``), figures (``figures``, ``timeline``), advice
(``advice``), charts as SVG (``charts``) and a page in HTML (``html``, ``template.html.j2``).

Only ``trace`` talks to the server; the rest takes values and gives values.
"""
