from jobmon.client.api import Tool

tool = Tool(name="my_first_tool")
square = tool.get_task_template("square", "echo $(({n} * {n})) > square_{n}.txt", node_args=["n"])
collect = tool.get_task_template("collect", "sort -n square_*.txt > squares.txt")

squares = square.create_tasks(n=[1, 2, 3, 4, 5])  # five tasks that may run side by side
together = collect.create_task(upstream_tasks=squares)  # and one that waits for all of them

workflow = tool.create_workflow(name="my_first_workflow")
workflow.add_tasks([*squares, together])
status = workflow.run()

print(f"Workflow {workflow.workflow_id} ended with status {status}; the squares are in squares.txt.")
