#include "server/http/open_heads.h"

#include <stddef.h>

void open_heads_add(struct open_heads *heads, struct open_head *head, void *connection, void *owner)
{
    *head = (struct open_head){
        .connection = connection, .owner = owner, .next = heads->first, .link = &heads->first};
    if (head->next != NULL)
        head->next->link = &head->next;
    heads->first = head;
}

void open_heads_remove(struct open_head *head)
{
    if (head->link == NULL)
        return;
    *head->link = head->next;
    if (head->next != NULL)
        head->next->link = head->link;
    head->link = NULL;
}

struct open_head *open_heads_take(struct open_heads *heads, bool (*is_wanted)(void *connection))
{
    struct open_head *head = heads->first;
    while (head != NULL && !is_wanted(head->connection))
        head = head->next;
    if (head != NULL)
        open_heads_remove(head);
    return head;
}
